"""A harness for PyTorch-style distributed tests, with the names of `torch.testing._internal` at the same paths.

Import the modules; this package itself imports none of them. A module or a name that is not here is the installed
torch's own, built on what is here (see `_upstream.graft`). Two names are here: a test whose ranks do not pass raises
`torch_testing_shim.RankFailure` where an assertion did not hold, and `torch_testing_shim.RankError` for anything else.
PYTEST_DONT_REWRITE: its entry point makes pytest look here.

Faces, PyTorch's names at PyTorch's paths. They re-export, and take the rest from torch:

    common_utils                          TestCase, run_tests, parametrize, seeds, flags
    common_distributed                    MultiProcessTestCase, skip_if_lt_x_gpu, requires_*, run_subtests
    common_fsdp                           FSDPTest, with CPU ranks where there is no accelerator
    common_device_type                    which devices generic tests are made for
    common_cuda                           TEST_MULTIGPU and its like
    distributed._tensor.common_dtensor    DTensorTestBase, with_comms
    distributed._shard.sharded_tensor     ShardedTensorTestBase, with _test_ops_common and _test_st_common
    distributed._shard.test_common        SimpleMegatronLM
    distributed.checkpoint_utils          with_temp_dir
    distributed.fake_pg                   FakeStore
    distributed.multi_threaded_pg         the process group of threads

Public modules of our own:

    distributed.agreement                 ranks that answer a check together
    distributed.sharded_comparison        two ShardedTensors, compared where their shards lie
    faults                                a rank is killed, fails, hangs or is late, where a test says so
    conformance                           what a storage of distributed checkpoints has to do, as a suite
    backends                              for packages that bring a device: Backend, requires_capability
    pytest_plugin                         @pytest.mark.ranks(4), and --hw-classification: a plugin of pytest

Private folders, lowest first. Each has a map of its own, and imports none that stands below it here:

    _shared            settings, journal, exit codes and what else all share; standard library only
    _assertions        what equal means
    _engine            one test, N ranks: processes, deadlines, verdicts
    _upstream          PyTorch's files as they are: redirect, grafts, device map
    _isolation         no test changes the next: guards, seeds, leaks
    _skips             every reason not to run, decided before a rank starts wherever it can be
    _program           what `python test_x.py` does: names, options, unittest's result, log, interrupts
    _cases             the base classes, and how a test's body runs in a rank
    _pytest_ranks      functions on ranks, as pytest runs them

Beside them stands

    _runner            many files: what run_test.py does; it imports `_shared`, and never torch

and `__main__`, which is `python -m torch_testing_shim FILE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch_testing_shim._upstream import modules as _modules

if TYPE_CHECKING:
    from torch_testing_shim._engine.controller import RankError as RankError, RankFailure as RankFailure

__version__ = "0.1.0"

_modules.install()
_module_below = _modules.below(__name__)


def __getattr__(name: str) -> Any:
    if name in ("RankError", "RankFailure"):
        from torch_testing_shim._engine import controller  # here, since it imports torch

        return getattr(controller, name)
    return _module_below(name)
