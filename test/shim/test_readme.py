"""What README shows works: its sample test runs, and passes."""

import re

from harness_samples import ROOT, SampleTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

README = (ROOT / "README.md").read_text()


class Readme(SampleTestCase):
    def test_sample_runs(self):
        (sample,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        path = self.folder / "test_readme_sample.py"
        path.write_text(sample)
        run = self.run_command(str(path))
        self.assertEqual(0, run.exit_code, run.output)
        statuses = {name: entry.status for name, entry in run.entries.items()}
        passed = TestStatus.PASSED
        self.assertEqual({"AllReduce.test_sum_float32": passed, "AllReduce.test_sum_int64": passed}, statuses)

    def test_files_that_it_names_are_there(self):
        named = set(re.findall(r"`((?:test|torch_testing_shim)/[\w/.]+)`", README))
        self.assertTrue(named)
        self.assertEqual([], [name for name in named if not (ROOT / name).exists()])

    def test_variables_that_it_names_are_read(self):
        settings = (ROOT / "torch_testing_shim" / "_shared/settings.py").read_text()
        named = set(re.findall(r"`((?:TORCH_TESTING_SHIM|DISTRIBUTED_TESTS|PYTORCH|SLOW|DISABLED)_\w+)`", README))
        self.assertTrue(named)
        self.assertEqual([], [name for name in sorted(named) if name not in settings])


if __name__ == "__main__":
    run_tests()
