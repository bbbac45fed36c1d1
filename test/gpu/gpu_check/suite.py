"""The suite's own files that name devices: they have to pass on a machine with an accelerator, too."""

from __future__ import annotations

from gpu_check.machine import Machine
from gpu_check.row import Row, Verdict
from gpu_check.sample_run import ROOT, run_python

__all__ = ["FILES", "SuiteCheck"]

FILES = (
    "shim/test_backend_needs",
    "shim/test_backend_skips",
    "shim/test_backends",
    "shim/test_common_cuda",
    "shim/test_common_device_type",
    "shim/test_common_distributed_names",
    "shim/test_common_dtensor",
    "shim/test_common_fsdp",
    "shim/test_continuous",
    "shim/test_driver_descriptors",
    "shim/test_engine_devices",
    "shim/test_engine_driver",
    "shim/test_engine_rank_device",
    "shim/test_engine_shared_devices",
    "shim/test_fork_safety",
    "shim/test_multi_threaded",
    "shim/test_runner_slots",
    "shim/test_sample_backend",
    "shim/test_sharded_tensor_base",
    "shim/test_upstream_mapped_devices",
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
