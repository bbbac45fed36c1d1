"""`run_test.py --upstream`: PyTorch's own files by the real command, from wherever they lie."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleTestCase

FILE = """
import torch
from torch.testing._internal.common_utils import TestCase, run_tests, {name}

class Of{number}(TestCase):
    def test_device(self):
        self.assertEqual(torch.ones(1, device="cuda").device, torch.device("cuda"))

    def test_wrong(self):
        self.assertEqual(torch.ones(1), torch.zeros(1))

if __name__ == "__main__":
    run_tests()
"""


class UpstreamRuns(SampleTestCase):
    is_cold = True  # they are runs of run_test.py, which imports no torch

    def setUp(self):
        super().setUp()
        for number, name in ((1, "slowTest"), (2, "no_such_name")):
            folder = self.folder / f"tests_{number}"
            folder.mkdir()
            (folder / f"test_{number}.py").write_text(FILE.format(number=number, name=name))

    def run_test(self, *arguments):
        return self.run_command(str(ROOT / "run_test.py"), "--upstream", "tests_1", "tests_2/test_2.py", *arguments)

    def test_a_mapped_run(self):
        run = self.run_test("--map-device", "cuda=cpu", "--keep-going")
        self.assertEqual(1, run.exit_code, run.output)
        lines = run.output.splitlines()
        self.assertEqual("2 passed, 2 failed, 0 skipped", lines[-1])
        self.assertEqual(1, lines.count("NOTE  mapped: cuda was cpu"))
        self.assertTrue(any(line.startswith("FAILED  tests_2/test_2::Of2.test_wrong  ") for line in lines), run.output)
        self.assertIn("-m torch_testing_shim --map-device cuda=cpu tests_1/test_1.py Of1.test_wrong", run.output)

    def test_parts_lists_and_the_surface(self):
        run = self.run_test("--list")
        self.assertEqual("tests_1/test_1\ntests_2/test_2\n", run.output)
        run = self.run_test("-i", "tests_1/test_1::Of1.test_wrong", "--dry-run")
        self.assertRegex(run.output, r"-m torch_testing_shim \S+/tests_1/test_1.py Of1.test_wrong\n$")
        run = self.run_test("--report-surface")
        self.assertIn("    1  absent   torch.testing._internal.common_utils.no_such_name\n", run.output)
        self.assertIn("2 files, 4 names: 3 ours, 0 torch's, 1 absent\n", run.output)

    def test_wrong_usage(self):
        for arguments, message in (
            (("--upstream", "nowhere"), "--upstream: there is no file or folder 'nowhere'"),
            (("--map-device", "cuda=cpu"), "--map-device and --report-surface go with --upstream"),
            (("--report-surface",), "--map-device and --report-surface go with --upstream"),
            (("--upstream", "tests_1", "--map-device", "cuda"), "--map-device 'cuda' maps no device type to another"),
        ):
            with self.subTest(arguments):
                run = self.run_command(str(ROOT / "run_test.py"), *arguments)
                self.assertEqual(2, run.exit_code, run.output)
                self.assertIn(message, run.output)
                self.assertNotIn("Traceback", run.output)


if __name__ == "__main__":
    run_tests()
