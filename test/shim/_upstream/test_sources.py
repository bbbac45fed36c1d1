"""Where torch's harness lies, found without importing torch."""

import subprocess
import sys
from pathlib import Path

import torch

from torch_testing_shim._upstream.sources import home_of, source_file
from torch_testing_shim.common_utils import TestCase, run_tests

FOLDER = Path(torch.__file__).parent / "testing" / "_internal"


class Sources(TestCase):
    def test_files(self):
        self.assertEqual(FOLDER / "common_utils.py", source_file("common_utils"))
        self.assertEqual(FOLDER / "opinfo" / "__init__.py", source_file("opinfo"))
        self.assertEqual(FOLDER / "opinfo" / "core.py", source_file("opinfo.core"))
        self.assertEqual(FOLDER / "__init__.py", source_file(""))
        for name in ("no_such_module", "common_utils.TestCase", "opinfo.no_such_module"):
            self.assertIsNone(source_file(name))

    def test_homes(self):
        self.assertEqual("common_dtype", home_of("floating_and_complex_types_and", besides="common_utils"))
        self.assertIsNone(home_of("floating_and_complex_types_and", besides="common_dtype"))
        self.assertIsNone(home_of("no_such_name", besides=""))
        self.assertIsNone(home_of("with_comms", besides=""))  # two modules have one

    def test_torch_is_not_imported(self):
        code = (
            "import sys, torch_testing_shim._upstream.modules as modules\n"
            "print(modules.source_file('common_utils') is not None, 'torch' in sys.modules)\n"
        )
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual("True False\n", printed.stdout)


if __name__ == "__main__":
    run_tests()
