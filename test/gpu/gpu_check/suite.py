"""The suite's own files that name devices: they have to pass on a machine with an accelerator, too."""

from __future__ import annotations

from gpu_check.machine import Machine
from gpu_check.row import Row, Verdict
from gpu_check.sample_run import ROOT, run_python

FILES = (
    "shim/_skips/test_by_ranks",
    "shim/test_backends",
    "shim/test_common_cuda",
    "shim/test_common_device_type",
    "shim/_cases/test_surroundings",
    "shim/distributed/_tensor/test_common_dtensor",
    "shim/test_common_fsdp",
    "shim/_cases/test_continuous",
    "shim/_isolation/test_library_descriptors",
    "shim/_engine/test_devices",
    "shim/_engine/test_driver",
    "shim/_engine/test_shared_devices",
    "shim/_engine/test_fork_safety",
    "shim/_cases/threads/test_multi_threaded",
    "shim/_runner/process/test_slots",
    "shim/test_sample_backend",
    "shim/distributed/_shard/test_sharded_tensor",
    "shim/_upstream/test_mapped_devices",
)
_LIMIT_SECONDS = 240.0


class SuiteCheck:
    """Runs them by `run_test.py`, as many at a time as there are cores, which share the devices."""

    name = "suite"

    def rows(self, _: Machine) -> list[Row]:
        """The one row."""
        run = run_python(
            [str(ROOT / "run_test.py"), "--keep-going", "--share-devices", "-j", "auto", *FILES], limit=_LIMIT_SECONDS
        )
        lines = run.output.rstrip().splitlines()
        failed = [
            line
            for line in dict.fromkeys(lines)
            if line.startswith(("FAILED  ", "ERROR  ", "CRASHED  ", "TIMED OUT  "))
        ]
        is_right = run.exit_code == 0
        verdict = Verdict.OK if is_right else Verdict.FAILED
        seen = lines[-1] if lines else "nothing"
        return [
            Row(
                f"{len(FILES)} files of the suite that name devices",
                "all pass",
                seen if run.exit_code is not None else f"not done after {_LIMIT_SECONDS:g} s",
                verdict,
                run.seconds,
                "\n".join(failed),
            )
        ]
