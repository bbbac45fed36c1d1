"""What is shown while files run: output that does not mix (`floor`, `output`), and how far the run is (`progress`)."""

from __future__ import annotations

import io
import tempfile
import threading
from unittest import mock

from hypothesis import given, strategies as st

from torch_testing_shim._runner.report import floor as floor_module
from torch_testing_shim._runner.report.floor import Floor
from torch_testing_shim._runner.report.output import LINE_BYTES, ShownOutput
from torch_testing_shim._runner.report.progress import Progress, seconds_left, short_duration
from torch_testing_shim._runner.report.running import RunningProcess
from torch_testing_shim._shared.journal_reading import JournalNews
from torch_testing_shim.common_utils import TestCase, run_tests

#: What three speakers do, in order: who, and what (None: has finished).
STEPS = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=5) | st.none()), max_size=30)


class FloorTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.said = io.BytesIO()
        self.floor = Floor(self.said.write)

    def test_the_first_is_heard_at_once_and_the_others_after_it(self) -> None:
        one, two, three = self.floor.join(), self.floor.join(), self.floor.join()
        two.write(b"two ")
        one.write(b"one ")
        self.assertEqual(b"one ", self.said.getvalue())
        three.write(b"three")
        three.finish()
        one.write(b"still one")
        one.finish()
        self.assertEqual(b"one still one\nthree\ntwo ", self.said.getvalue())
        two.write(b"goes on")
        two.finish()
        self.assertEqual(b"one still one\nthree\ntwo goes on\n", self.said.getvalue())

    def test_a_line_of_nobody_waits_for_the_floor(self) -> None:
        one = self.floor.join()
        self.floor.line("file one ended")
        one.line("a line")
        one.finish()
        self.floor.line("file two ended")
        self.assertEqual(b"a line\nfile one ended\nfile two ended\n", self.said.getvalue())

    @given(STEPS)
    def test_what_each_says_stays_in_one_piece(self, steps: list[tuple[int, bytes | None]]) -> None:
        said = io.BytesIO()
        floor = Floor(said.write)
        speakers, spoken, living = [floor.join() for _ in range(3)], [b"", b"", b""], {0, 1, 2}
        for who, data in [*steps, (0, None), (1, None), (2, None)]:
            if who in living and data is None:
                speakers[who].finish()
                living.remove(who)
            elif who in living and data is not None:
                data = data.replace(b"\n", b"")
                speakers[who].write(data)
                spoken[who] += data
        pieces = sorted(piece for piece in said.getvalue().split(b"\n") if piece)
        self.assertEqual(sorted(piece for piece in spoken if piece), pieces)

    def test_too_much_is_left_out_and_counted(self) -> None:
        with mock.patch.object(floor_module, "WAITING_BYTES", 10):
            one, two = self.floor.join(), self.floor.join()
            for _ in range(4):
                two.write(b"12345678")
            two.line("ended")
            one.finish()
            two.finish()
        self.assertEqual(b"1234567812\n... 29 bytes of output were left out here\n", self.said.getvalue())

    def test_a_full_disk_costs_what_waits_and_no_more(self) -> None:
        """A mock stands for the disk: filling a real one would disturb whatever else runs on the machine."""
        full = mock.Mock(spec=tempfile.SpooledTemporaryFile)
        full.write.side_effect = OSError(28, "No space left on device")
        full.read.return_value = b""
        with mock.patch.object(tempfile, "SpooledTemporaryFile", return_value=full):
            one, two = self.floor.join(), self.floor.join()
            two.write(b"lost")
            one.write(b"heard\n")
            one.finish()
            two.finish()
        self.assertEqual(b"heard\n... 4 bytes of output were left out here\n", self.said.getvalue())

    def test_threads_do_not_mix(self) -> None:
        def speak(number: int) -> None:
            speaker = self.floor.join()
            for _ in range(200):
                speaker.write(str(number).encode() * 3)
            speaker.finish()

        threads = [threading.Thread(target=speak, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(f"{n}" * 600 for n in range(8)), sorted(self.said.getvalue().decode().split()))


class ShownOutputTest(TestCase):
    def test_each_line_has_its_file_in_front(self) -> None:
        stream = io.BytesIO()
        output = ShownOutput(stream, is_prefixed=True)
        one, two = output.join("test_one"), output.join("test_two")
        one.write(b"begun ")
        two.write(b"a\n\nb\n")
        one.write(b"ended\nno end")
        output.line("test_two  1 passed")
        one.finish()
        two.finish()
        expected = ["[test_two] a", "[test_two] ", "[test_two] b", "[test_one] begun ended", "test_two  1 passed"]
        self.assertEqual([*expected, "[test_one] no end"], stream.getvalue().decode().splitlines())

    def test_a_line_without_end_is_cut(self) -> None:
        stream = io.BytesIO()
        process = ShownOutput(stream, is_prefixed=True).join("test_one")
        process.write(b"x" * (LINE_BYTES + 1))
        self.assertEqual(len("[test_one] \n") + LINE_BYTES + 1, len(stream.getvalue()))


class ProgressTest(TestCase):
    def test_the_time_left(self) -> None:
        expected = {"a": 10.0, "b": 20.0}
        self.assertEqual(30.0, seconds_left(["a", "b"], {}, expected, 1))
        self.assertEqual(20.0, seconds_left(["a", "b"], {}, expected, 2))  # b alone takes that long
        self.assertEqual(14.0, seconds_left(["a"], {"b": 16.0}, expected, 1))
        self.assertEqual(0.0, seconds_left([], {"b": 100.0}, expected, 1))
        self.assertEqual(15.0, seconds_left(["never seen"], {}, expected, 1))  # as others on average
        self.assertIsNone(seconds_left(["a"], {}, {}, 1))

    def test_durations_are_read_at_a_glance(self) -> None:
        shown = [short_duration(seconds) for seconds in (0.2, 59.4, 61, 3540, 4800)]
        self.assertEqual(["1 s", "59 s", "1 min", "59 min", "1 h 20 min"], shown)

    def test_the_lines(self) -> None:
        progress = Progress({"test_a": 100.0, "test_b": 200.0}, jobs=2)
        progress.plan(["test_a", "test_b", "test_c"])
        self.assertEqual((1, 3), progress.place("test_a"))
        self.assertEqual((2, 3), progress.place("test_b"))
        self.assertEqual((1, 3), progress.place("test_a"))  # its second process
        progress.add_tests(ended=3, failed=1)
        progress.end_file("test_a")
        self.assertEqual("1/3 files  3 tests, 1 failed  about 3 min left", progress.summary_line())
        process = RunningProcess("test_b", "B again", mock.Mock(), mock.Mock(), mock.Mock())
        progress.processes.append(process)
        self.assertEqual(["test_b (B again)  0/0  starting  0s"], progress.process_lines())
        process.on_journal(JournalNews(planned=2, now="B.one"))
        self.assertEqual(["test_b (B again)  0/2  B.one  0s"], progress.process_lines())


if __name__ == "__main__":
    run_tests()
