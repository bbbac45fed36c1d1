"""The command that runs a test again loses no setting: each row of the table that may change an outcome is in it, and
the command, typed in a bare shell, runs the test with the same settings."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from torch_testing_shim._shared.rerun_command import settings_as_assignments
from torch_testing_shim._shared.settings import SETTINGS, Settings, as_variables, read_settings
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleTestCase

#: A value for each variable that a rerun line repeats, with which the sample below can run.
VALUES = {
    "TORCH_TESTING_SHIM_DEVICE": "cpu",
    "TORCH_TESTING_SHIM_SHARE_DEVICES": "1",
    "TORCH_TESTING_SHIM_START_METHOD": "spawn",
    "WORLD_SIZE": "3",
    "TORCH_TESTING_SHIM_SEED": "7",
    "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": "1234567.25",
    "TORCH_TESTING_SHIM_STALL_SECONDS": "12.5",
    "TORCH_TESTING_SHIM_LAZY_CONNECTIONS": "1",
    "TORCH_TESTING_SHIM_STRICT_LEAKS": "1",
    "PYTORCH_TEST_WITH_SLOW": "1",
    "PYTORCH_TEST_SKIP_FAST": "1",
    "PYTORCH_TEST_OMIT_SKIPPED": "1",
    "SLOW_TESTS_FILE": "slow ones.json",
    "DISABLED_TESTS_FILE": "disabled.json",
    "TORCH_TESTING_SHIM_RERUN_DISABLED_TESTS": "1",
    "PYTORCH_HYPOTHESIS_PROFILE": "debug",
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "1",
    "BACKEND": "gloo",
    "TORCH_TESTING_SHIM_DEVICE_INDICES": "2,0",
}
#: Settings that people may set and no rerun line repeats, with the reason.
NOT_REPEATED = {
    "show_output": "changes what is printed",
    "full_traceback": "changes what is printed",
    "showlocals": "changes what is printed",
    "print_repro": "changes what is printed",
    "reuse_ranks": "a test that does not pass runs again in fresh ranks, and that verdict counts",
    "is_ci": "only picks the Hypothesis profile, which is repeated",
    "temporary_folder": "may be gone, see the row",
    "shared_folder": "counts under torchrun alone, whose command starts the processes again",
}
#: Fails as slow tests do, by its assertion or by its process, and prints what its settings are.
SAMPLE = """
from torch_testing_shim._shared.settings import SETTINGS, read_settings
from torch_testing_shim.common_utils import slowTest


class Sample(TestCase):
    @slowTest
    def test(self):
        read = read_settings()
        found = {name: repr(getattr(read, name)) for name, row in SETTINGS.items() if row.is_repeated}
        print("SETTINGS", __import__("json").dumps(found), flush=True)
        if os.path.exists("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.fail("as it is to")
"""


def found_in(output: str) -> dict[str, str]:
    """The last line that the sample has printed."""
    found: dict[str, str] = json.loads(re.findall(r"SETTINGS (\{.*\})", output)[-1])
    return found


class RerunCommand(SampleTestCase):
    def rerun(self, output: str) -> str:
        """The output of the rerun line in some output where none of the variables is set."""
        (line,) = set(re.findall(r"(?m)^ *To run this test again:\n +(.+)$", output))
        keep = {name: value for name, value in self.environment().items() if name not in VALUES}
        keep["PATH"] = f"{ROOT}:{keep['PATH']}"
        command = line.replace(" python ", f" {shlex.quote(sys.executable)} ")
        done = subprocess.run(command, shell=True, cwd=self.folder, env=keep, capture_output=True, text=True)
        return done.stdout + done.stderr

    def test_the_command_has_all_settings_of_the_test(self) -> None:
        self.assertEqual({row.variable for row in SETTINGS.values() if row.is_repeated}, VALUES.keys())
        for name, listed in (("slow ones.json", {}), ("disabled.json", {"test (__main__.Sample)": ["an issue", []]})):
            (self.folder / name).write_text(json.dumps(listed))
        path = self.write_sample(SAMPLE)
        run = self.run_command(str(path), **VALUES)
        wanted = found_in(run.output)
        default = Settings()
        self.assertEqual([], [name for name, value in wanted.items() if value == repr(getattr(default, name))])
        self.assertEqual(wanted, found_in(self.rerun(run.output)))

        (self.folder / "dies").touch()  # such a test writes no line itself: the runner does
        (self.folder / "test").mkdir()
        path.rename(self.folder / "test" / path.name)
        (self.folder / "run_test.py").write_text((ROOT / "run_test.py").read_text())
        runner = self.run_command("run_test.py", **VALUES)
        self.assertEqual(wanted, found_in(runner.output))
        self.assertEqual(wanted, found_in(self.rerun(runner.output)))

    def test_only_what_cannot_change_an_outcome_is_left_out(self) -> None:
        left_out = {name for name, row in SETTINGS.items() if not (row.is_repeated or row.is_ours)}
        self.assertEqual(NOT_REPEATED.keys(), left_out)


class Assignments(TestCase):
    def test_values_at_their_defaults_are_left_out(self) -> None:
        self.assertEqual([], [*settings_as_assignments(Settings()), *as_variables(Settings())])

    def test_a_shell_reads_the_values_back(self) -> None:
        settings = read_settings(VALUES)
        words = shlex.split(" ".join(settings_as_assignments(settings)))
        self.assertEqual(settings, read_settings(dict(word.split("=", 1) for word in words)))


if __name__ == "__main__":
    run_tests()
