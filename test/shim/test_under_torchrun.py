"""How torchrun ends its processes on one machine: when it is ended itself, and when one of them has failed.

torchrun's agent is torch's own, but its processes are forks of it: a new interpreter for each takes much longer.
"""

from __future__ import annotations

import re
import signal
import time

from harness_samples import SampleRun, SampleTestCase, wait_until
from joined_samples import AGENT

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

SAMPLE = """
if os.environ.get("BREAKS") == os.environ["RANK"]:
    time.sleep(2)  # until the others wait for it
    raise ValueError("while it is imported")

class Loop(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_1_loops(self):
        while True:
            dist.barrier()
            open("running", "w").close()
            time.sleep(0.05)

    @with_comms
    def test_2(self):
        pass
"""
#: Seconds that the processes may take to end once torchrun has asked them to.
LATE = 10.0
#: Files that torch keeps, and those that torchrun leaves where it is ended.
OTHERS = ("torchinductor_", "torchelastic_", "pytorch-errorfile-")


class UnderTorchrunTest(SampleTestCase):
    def under_torchrun(self, number: int | None = None, **extra: str) -> SampleRun:
        """Run the sample, and where a signal is given, send it to torchrun while the first test runs."""
        words = [self.write_sample(AGENT, "agent.py"), "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
        words += ["--nproc-per-node=2", self.write_sample(SAMPLE)]
        agent, began = self.start([str(word) for word in words], **extra), time.monotonic()
        if number is not None:
            self.assertTrue(wait_until((self.folder / "running").exists))
            agent.send_signal(number)
            began = time.monotonic()
        found = self.finish(agent, began)
        self.assertEqual([], self.processes_of_sample())
        left = [path.name for path in (self.folder / "tmp").iterdir() if not path.name.startswith(OTHERS)]
        self.assertEqual([], left, left)
        return found

    def test_a_signal_to_torchrun_ends_all_with_one_report(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            found = self.under_torchrun(number)
            self.assertNotEqual(0, found.exit_code)
            self.assertLess(found.seconds, LATE)
            said = r"ranks 0, 1 \(\S+\) still ran when interrupted, in test_1_loops \(test_sample.py:\d+\)"
            self.assert_status(found, "Loop.test_1_loops", TestStatus.ERROR, f"^{said}$")
            self.assertEqual(1, len(re.findall(f"(?m)^{said}$", found.output)), found.output)
            self.assertIn("these tests were to run and did not: Loop.test_2\n", found.output)
            (self.folder / "running").unlink()

    def test_one_that_cannot_be_imported_is_told_by_the_others(self) -> None:
        found = self.under_torchrun(BREAKS="1")
        self.assertIn("ValueError: while it is imported", found.output)
        said = "torchrun's processes did not meet: nothing was heard from rank 1 before torchrun ended the others"
        self.assertEqual(1, found.output.count(said), found.output)


if __name__ == "__main__":
    run_tests()
