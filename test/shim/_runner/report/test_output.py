"""The output of files that run at once does not mix."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st

from torch_testing_shim._runner.report import output as output_module
from torch_testing_shim._runner.report.output import LINE_BYTES, OutputMultiplexer, PrefixedLines
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given

#: Writes of three streams, in order: which, and the bytes (None: has finished).
STEPS = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=5) | st.none()), max_size=30)


class MultiplexerTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.shown = io.BytesIO()
        self.multiplexer = OutputMultiplexer(self.shown)

    def test_the_first_stream_is_live_and_the_others_follow(self) -> None:
        one, two, three = self.multiplexer.open(), self.multiplexer.open(), self.multiplexer.open()
        two.write(b"two ")
        one.write(b"one ")
        self.assertEqual(b"one ", self.shown.getvalue())
        three.write(b"three")
        three.finish()
        one.write(b"still one")
        one.finish()
        self.assertEqual(b"one still one\nthree\ntwo ", self.shown.getvalue())
        two.write(b"goes on")
        two.finish()
        self.assertEqual(b"one still one\nthree\ntwo goes on\n", self.shown.getvalue())

    def test_a_line_of_no_stream_waits_until_none_is_live(self) -> None:
        one = self.multiplexer.open()
        self.multiplexer.line("file one ended")
        one.line("a line")
        one.finish()
        self.multiplexer.line("file two ended")
        self.assertEqual(b"a line\nfile one ended\nfile two ended\n", self.shown.getvalue())

    @given(STEPS)
    def test_each_stream_stays_in_one_piece(self, steps: list[tuple[int, bytes | None]]) -> None:
        shown = io.BytesIO()
        multiplexer = OutputMultiplexer(shown)
        streams, written, living = [multiplexer.open() for _ in range(3)], [b"", b"", b""], {0, 1, 2}
        for who, data in [*steps, (0, None), (1, None), (2, None)]:
            if who in living and data is None:
                streams[who].finish()
                living.remove(who)
            elif who in living and data is not None:
                data = data.replace(b"\n", b"")
                streams[who].write(data)
                written[who] += data
        pieces = sorted(piece for piece in shown.getvalue().split(b"\n") if piece)
        self.assertEqual(sorted(piece for piece in written if piece), pieces)

    def test_too_much_is_left_out_and_counted(self) -> None:
        with mock.patch.object(output_module, "BUFFER_BYTES", 10):
            one, two = self.multiplexer.open(), self.multiplexer.open()
            for _ in range(4):
                two.write(b"12345678")
            two.line("ended")
            one.finish()
            two.finish()
        self.assertEqual(b"1234567812\n... 29 bytes of output were left out here\n", self.shown.getvalue())

    def test_a_full_disk_costs_the_buffer_and_no_more(self) -> None:
        """A mock stands for the disk: filling a real one would disturb whatever else runs on the machine."""
        full = mock.Mock(spec=tempfile.SpooledTemporaryFile)
        full.write.side_effect = OSError(28, "No space left on device")
        full.read.return_value = b""
        with mock.patch.object(tempfile, "SpooledTemporaryFile", return_value=full):
            one, two = self.multiplexer.open(), self.multiplexer.open()
            two.write(b"lost")
            one.write(b"heard\n")
            one.finish()
            two.finish()
        self.assertEqual(b"heard\n... 4 bytes of output were left out here\n", self.shown.getvalue())


class PrefixedLinesTest(TestCase):
    def test_each_line_has_its_file_in_front(self) -> None:
        stream = io.BytesIO()
        output = OutputMultiplexer(stream)
        one, two = PrefixedLines("test_one", output), PrefixedLines("test_two", output)
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
        process = PrefixedLines("test_one", OutputMultiplexer(stream))
        process.write(b"x" * (LINE_BYTES + 1))
        self.assertEqual(len("[test_one] \n") + LINE_BYTES + 1, len(stream.getvalue()))


if __name__ == "__main__":
    run_tests()
