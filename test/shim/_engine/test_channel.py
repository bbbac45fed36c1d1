"""The channel between a rank and the controller: whole messages, torn ones, and what is no message."""

import os
import threading
import unittest
from dataclasses import replace

from torch_testing_shim._engine.channel import ChannelWriter, make_channel
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim.common_utils import run_tests

OUTCOME = RankOutcome(2, RankStatus.FAILED, 1.0, headline="AssertionError: ä\n", exit_code=10)


class Channel(unittest.TestCase):
    def setUp(self):
        self.reader, self.descriptor = make_channel()
        self.addCleanup(self.reader.close)
        self.writer = ChannelWriter(self.descriptor)
        self.is_open = True
        self.addCleanup(self.close_writer)

    def close_writer(self):
        if self.is_open:
            os.close(self.descriptor)
            self.is_open = False

    def test_an_outcome_arrives(self):
        self.assertIsNone(self.reader.read())
        self.writer.send(OUTCOME)
        self.assertEqual(OUTCOME, self.reader.read())
        self.assertEqual(OUTCOME, self.writer.sent)
        self.assertFalse(self.reader.at_end)

    def test_subtests_arrive_apart_from_the_outcome(self):
        subtests = [replace(OUTCOME, subtest=f"(i={i})") for i in range(3)]
        for one in subtests:
            self.writer.send_subtest(one)
        self.assertIsNone(self.reader.read())
        self.assertIsNone(self.writer.sent)
        outcome = replace(OUTCOME, passed_subtests=("(i=4)",), skipped_subtests=(("(i=5)", "why"),))
        self.writer.send(outcome)
        self.assertEqual(outcome, self.reader.read())
        self.assertEqual(subtests, self.reader.subtests)

    def test_a_torn_outcome_is_none_and_does_not_block(self):
        line = OUTCOME.to_json().encode()
        os.write(self.descriptor, line[:20])
        self.assertIsNone(self.reader.read())
        os.write(self.descriptor, line[20:] + b"\n")
        self.assertEqual(OUTCOME, self.reader.read())

    def test_a_torn_outcome_of_a_dead_rank_is_none(self):
        os.write(self.descriptor, OUTCOME.to_json().encode()[:20])
        self.close_writer()
        self.assertIsNone(self.reader.read())
        self.assertTrue(self.reader.at_end)

    def test_garbage_before_the_outcome_is_passed_over(self):
        os.write(self.descriptor, b"\xff\xfe not json\n{}\n")
        self.writer.send(OUTCOME)
        self.assertEqual(OUTCOME, self.reader.read())

    def test_garbage_without_end_of_line_is_passed_over(self):
        os.write(self.descriptor, b"no outcome")
        self.writer.send(OUTCOME)
        self.assertEqual(OUTCOME, self.reader.read())

    def test_a_flood_neither_holds_the_reader_nor_fills_it(self):
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                os.write(self.descriptor, b"x" * (1 << 16))

        writer = threading.Thread(target=flood)
        writer.start()
        try:
            for _ in range(3):
                self.assertIsNone(self.reader.read())
        finally:
            stop.set()
            while writer.is_alive():
                self.reader.read()
        self.assertLess(len(self.reader._buffer), 1 << 23)

    def test_a_process_forked_from_the_rank_does_not_speak_for_it(self):
        child = os.fork()
        if child == 0:
            self.writer.send(OUTCOME)
            os._exit(0)
        self.assertEqual(0, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        self.assertIsNone(self.reader.read())
        self.writer.send(OUTCOME)
        self.assertEqual(OUTCOME, self.reader.read())

    def test_the_last_outcome_counts(self):
        self.writer.send(RankOutcome(2, RankStatus.PASSED, 0.5))
        self.writer.send(OUTCOME)
        self.assertEqual(OUTCOME, self.reader.read())

    def test_an_outcome_larger_than_the_pipe_arrives(self):
        big = RankOutcome(0, RankStatus.ERRORED, 1.0, traceback="x" * 1_000_000)
        sender = threading.Thread(target=self.writer.send, args=(big,))
        sender.start()
        found = None
        while found is None:
            found = self.reader.read()
        sender.join()
        self.assertEqual(big, found)


if __name__ == "__main__":
    run_tests()
