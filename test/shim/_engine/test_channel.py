"""The channel between a rank and the controller: whole messages, torn ones, and what is no message.

Ranks that are done wait a moment for the others, and not where it is of no use.
"""

import os
import signal
import sys
import threading
import time
import unittest
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._engine.channel import ChannelWriter, CommonEnd, call_off_common_end, make_channel
from torch_testing_shim._engine.job import make_scratch_folder, remove_scratch_folder
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

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


SAMPLE = """
import socket
HELD = []

class Connected(Spawning):
    def connect(self):
        path = os.path.join(os.environ["TMPDIR"], "socket")
        with socket.socket(socket.AF_UNIX) as server:
            if self.rank == 0:
                server.bind(path + ".new")
                server.listen()
                os.rename(path + ".new", path)
                HELD.append(server.accept()[0])
                return None
        while not os.path.exists(path):
            time.sleep(0.01)
        HELD.append(socket.socket(socket.AF_UNIX))
        HELD[0].connect(path)
        return HELD[0]

    def is_open(self, connection):
        try:
            return connection.recv(1, socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True

    def test_a_passed_rank_stays_a_moment(self):
        if connection := self.connect():
            time.sleep(0.2)
            self.assertTrue(self.is_open(connection))

    def test_a_skipped_rank_stays_a_moment(self):
        if connection := self.connect():
            time.sleep(0.2)
            self.assertTrue(self.is_open(connection))
        self.skipTest("both ranks skip")

    def test_not_for_long(self):
        if connection := self.connect():
            connection.settimeout(30)
            self.assertEqual(b"", connection.recv(1))

    def test_not_at_all_after_an_exception(self):
        if connection := self.connect():
            time.sleep(0.2)
            self.assertFalse(self.is_open(connection))
        else:
            raise ValueError("rank 0 leaves at once")

    def test_not_at_all_by_exit(self):
        if connection := self.connect():
            time.sleep(0.2)
            self.assertFalse(self.is_open(connection))
        else:
            os._exit(0)

class RightAfterItsStart(Spawning):
    world_size = 4

for number in range(10):
    def test(self):
        dist.init_process_group("gloo", rank=self.rank, world_size=4, init_method=f"file://{self.file_name}")
    setattr(RightAfterItsStart, f"test_{number}", test)
"""


class InRanks(SampleTestCase):
    def test_ranks_leave_together(self):
        run = self.run_sample(SAMPLE)
        for test, entry in run.entries.items():
            if "not_at_all" not in test and "skipped" not in test:
                self.assertIs(TestStatus.PASSED, entry.status, entry.detail)
        self.assert_status(run, "Connected.test_a_skipped_rank_stays_a_moment", TestStatus.SKIPPED, "both ranks skip")
        raised = "^rank 0 errored: ValueError: rank 0 leaves at once$"
        self.assert_status(run, "Connected.test_not_at_all_after_an_exception", TestStatus.ERROR, raised)
        died = r"^rank 0 \(pid \d+\) died: exit code 0, without finishing its test$"
        self.assert_status(run, "Connected.test_not_at_all_by_exit", TestStatus.ERROR, died)
        self.assertEqual(15, len(run.entries))


class Waiting(TestCase):
    def setUp(self):
        super().setUp()
        self.scratch = make_scratch_folder()
        self.addCleanup(remove_scratch_folder, self.scratch)

    def seconds(self, end):
        began = time.monotonic()
        end.wait()
        return time.monotonic() - began

    def test_for_those_who_are_not_done(self):
        first, second = CommonEnd(self.scratch), CommonEnd(self.scratch)
        self.assertGreater(self.seconds(first), 0.4)
        self.assertLess(self.seconds(second), 0.4)
        self.assertLess(self.seconds(second), 0.4)  # once only

    def test_called_off(self):
        call_off_common_end(self.scratch)  # before any rank has come so far
        first, second = CommonEnd(self.scratch), CommonEnd(self.scratch)
        call_off_common_end(self.scratch)
        self.assertLess(self.seconds(first), 0.4)
        second.wait()

    def test_a_fork_does_not_hold_it(self):
        end = CommonEnd(self.scratch)
        if (child := os.fork()) == 0:
            end.wait()
            time.sleep(3600)
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.kill, child, signal.SIGKILL)
        time.sleep(0.1)
        self.assertLess(self.seconds(end), 0.4)


if __name__ == "__main__":
    run_tests()
