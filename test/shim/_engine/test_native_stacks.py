"""Native stacks: what becomes of py-spy's answers. A stand-in on PATH gives them, since py-spy is an extra."""

import os
import tempfile
import time
from pathlib import Path
from unittest import mock

from torch_testing_shim._engine.native_stacks import native_stacks
from torch_testing_shim.common_utils import TestCase, run_tests


class NativeStacks(TestCase):
    def ask(self, script, seconds=10.0):
        """What comes of asking for two ranks where `script` is py-spy's body; None for no py-spy."""
        with tempfile.TemporaryDirectory() as folder:
            if script is not None:
                program = Path(folder, "py-spy")
                program.write_text(script)
                program.chmod(0o755)
            with mock.patch.dict(os.environ, PATH=folder):
                return native_stacks({0: 17, 2: 18}, seconds)

    def test_not_installed(self):
        self.assertEqual({}, self.ask(None))

    def test_stacks_of_each_rank(self):
        told = self.ask('#!/bin/sh\necho "$@"\n')
        self.assertEqual({0: "dump --native --pid 17", 2: "dump --native --pid 18"}, told)

    def test_a_failure_is_one_line(self):
        told = self.ask("#!/bin/sh\necho more >&2; echo Permission Denied >&2; exit 1\n")
        self.assertEqual("py-spy failed: Permission Denied", told[0])
        self.assertEqual("py-spy failed: 3", self.ask("#!/bin/sh\nexit 3\n")[2])

    def test_one_that_takes_too_long(self):
        began = time.monotonic()
        self.assertEqual({0: "py-spy took too long"}, {0: self.ask("#!/bin/sh\nexec /bin/sleep 60\n", 0.2)[0]})
        self.assertLess(time.monotonic() - began, 30)

    def test_one_that_cannot_be_run(self):
        self.assertEqual("py-spy cannot be run: Exec format error", self.ask("\x00")[0])


if __name__ == "__main__":
    run_tests()
