"""Faults for tests of code that has to survive them: a rank is killed, fails, hangs or is late at a chosen point.

Not upstream's; our own. A fault says what happens, to which rank, and where; `inject` makes it happen inside a block:

    from torch_testing_shim.faults import collective, delay, fail, inject, kill, write

    inject(kill(rank=2, at=collective(5)))                           # at its 5th collective
    inject(delay(3.0, rank=1, at=collective(1, "all_gather")))       # 3 s late in its first all_gather
    inject(fail(rank=0, at=write(2), error=OSError("disk full")))    # in its storage writer's 2nd write

A test of a checkpoint library, complete; its own writer and reader are struck as torch's are:

    import torch
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    from torch_testing_shim.common_utils import run_tests
    from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
    from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir
    from torch_testing_shim.faults import fail, inject, write


    class Save(DTensorTestBase):
        @with_comms
        @with_temp_dir
        def test_a_failed_write_fails_the_save_on_every_rank(self):
            state = {f"weight of {self.rank}": torch.ones(4), f"bias of {self.rank}": torch.ones(4)}
            with inject(fail(rank=0, at=write(2), error=OSError("disk full"))):
                with self.assertRaisesRegex(CheckpointException, "disk full"):
                    dcp.save(state, checkpoint_id=self.temp_dir)
            with self.assertRaisesRegex(CheckpointException, "No such file"):
                dcp.load(state, checkpoint_id=self.temp_dir)


    if __name__ == "__main__":
        run_tests()

What strikes: `kill`, `exit_with`, `fail`, `hang`, `delay`. Where: `collective`, `transfer`, `write`, `read`, `call`.
All are frozen descriptions. `record_communication` lists the collectives to choose from. A fault that never fires is an
error (`FaultNeverFiredError`) in its rank. A struck rank says so on stderr, so a report shows that its death was
injected.

The harness takes a rank's death for an error, unless the test has announced it: with its function in
`self.skip_return_code_checks` no rank's exit counts, nor does a lost connection, and survivors can check what is left.
They must not call another collective, as `with_comms` does at a test's end: the others may still wait in the one that
was struck.

What counts:

* A collective is one call of the user's: `all_gather_object` is one, whatever it sends, and so is `barrier`. What
  torch itself calls (FSDP's hooks, DTensor's redistribution, DDP's buckets, a distributed checkpoint) counts as well,
  each under `torch.distributed`'s name for it. Calls inside `_coalescing_manager` are one. Groups count
  together.
* Starting an asynchronous collective counts; waiting for it does not.
* `send` and `recv` are not collectives: `transfer` counts them. `init_process_group` and `new_group` are neither: they
  meet in a store.
* A collective is struck as the rank enters it, before anything is sent, on every device. On an accelerator earlier ones
  may still be running.

Limits:

* `inject` sees this thread, autograd's threads, and Python threads that start inside the block (`dcp.async_save` starts
  one). It does not see threads that ran before, other processes, collectives of symmetric memory, and those that a
  package sends around torch's dispatcher.
* Where several threads communicate or write at once, their order decides which call is the n-th.
* `torch.compile` compiles nothing inside the block, as under any dispatch mode.

The modules:

    _points         where: the frozen descriptions of points
    _faults         what: the frozen `Fault`, and what happens when it strikes
    _watching       sees collectives, transfers, and the calls of a function
    _injection      `inject`: from descriptions to a block in which they strike
"""

from torch_testing_shim.faults._faults import Fault, InjectedFaultError, delay, exit_with, fail, hang, kill
from torch_testing_shim.faults._injection import FaultNeverFiredError, inject, record_communication
from torch_testing_shim.faults._points import Point, call, collective, read, transfer, write

__all__ = [
    "Fault",
    "FaultNeverFiredError",
    "InjectedFaultError",
    "Point",
    "call",
    "collective",
    "delay",
    "exit_with",
    "fail",
    "hang",
    "inject",
    "kill",
    "read",
    "record_communication",
    "transfer",
    "write",
]
