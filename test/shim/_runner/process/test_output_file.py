"""A file's output: read as it grows, never kept in whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest import mock

from torch_testing_shim._runner.process import output_file
from torch_testing_shim._runner.process.output_file import OutputFile
from torch_testing_shim.common_utils import TestCase, run_tests


class OutputFileTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "output"
        self.output = OutputFile(self.path)
        self.addCleanup(self.output.close)

    def say(self, text: bytes) -> None:
        os.write(self.output.descriptor, text)

    def new(self) -> bytes:
        return b"".join(self.output.read_new())

    def test_each_byte_is_read_once(self) -> None:
        self.assertEqual(b"", self.new())
        self.say(b"one\n")
        self.assertEqual(b"one\n", self.new())
        self.say(b"two")
        self.assertEqual((b"two", b""), (self.new(), self.new()))
        self.assertEqual("one\ntwo", self.output.tail())

    def test_the_tail_has_so_many_lines(self) -> None:
        self.say(b"".join(b"%d\n" % number for number in range(1000)))
        self.new()
        self.assertEqual([str(number) for number in range(940, 1000)], self.output.tail().splitlines())

    def test_what_was_read_is_taken_off_the_disk(self) -> None:
        with mock.patch.object(output_file, "KEPT_BYTES", 100):
            self.say(b"x" * 101)
            self.assertEqual(b"x" * 101, self.new())
            self.assertEqual(0, self.path.stat().st_size)
            self.say(b"on it goes\n")
            self.assertEqual(b"on it goes\n", self.new())
            self.assertEqual("x" * 101 + "on it goes", self.output.tail())

    def test_what_nobody_could_read_is_left_out_and_told(self) -> None:
        with mock.patch.object(output_file, "LOOK_BYTES", 100):
            self.say(b"first" + b"x" * 1000 + b"the last words")
            self.assertEqual(
                b"\n... 919 bytes of output were left out here\n" + b"x" * 86 + b"the last words", self.new()
            )
            self.assertEqual(b"", self.new())

    def test_a_file_that_empties_its_output_itself(self) -> None:
        self.say(b"before")
        self.new()
        os.truncate(self.path, 0)
        self.say(b"now")
        self.assertEqual(b"now", self.new())

    def test_a_file_that_is_there_already_is_somebody_elses(self) -> None:
        with self.assertRaises(FileExistsError):
            OutputFile(self.path)


if __name__ == "__main__":
    run_tests()
