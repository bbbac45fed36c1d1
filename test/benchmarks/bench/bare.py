"""The floor: as little harness as runs a case's tests on fresh ranks.

One process has imported what the case needs and nothing besides (an import that only the floor pays would flatter all
others). For each test it forks the ranks, which rendezvous over a file, run the body and leave by `os._exit`; it
waits for them and looks at every exit status. Nothing watches for hangs, nothing collects output, a failure is a
traceback on stderr. A harness that gives each test fresh processes cannot do much less.

The names are those that the cases import, with just the behaviour that the cases need.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import tempfile
import traceback
import unittest
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["DTensorTestBase", "instantiate_parametrized_tests", "parametrize", "run_tests", "skip_if_lt_x_gpu"]
__all__ += ["with_comms", "with_temp_dir"]

TestMethod = Callable[..., None]
_RANKS_BY_DEFAULT = 4
_SEED = 1234  # that of the other contenders: all of them train the same models on the same input


class DTensorTestBase(unittest.TestCase):
    """A test whose body every rank runs; `rank`, `file_name` and `temp_dir` are set in the rank."""

    rank = -1
    file_name = ""
    temp_dir = ""
    world_size = _RANKS_BY_DEFAULT
    device_type = "cpu"

    def assertEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        """Tensors by `torch.allclose`: `torch.testing.assert_close` would import some 500 modules in every rank."""
        text = msg("differs") if callable(msg) else msg
        if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
            self.assertEqual((first.dtype, first.shape), (second.dtype, second.shape), text)
            self.assertTrue(torch.allclose(first, second, equal_nan=True), text)
        else:
            super().assertEqual(first, second, text)


def with_comms(body: TestMethod) -> TestMethod:
    """A process group around the body."""

    @functools.wraps(body)
    def wrapper(self: DTensorTestBase, *args: Any, **kwargs: Any) -> None:
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
        body(self, *args, **kwargs)
        dist.barrier()
        dist.destroy_process_group()

    return wrapper


def with_temp_dir(body: TestMethod) -> TestMethod:
    """Nothing to add: the loop makes `temp_dir` for every test."""
    return body


def skip_if_lt_x_gpu(x: int, *, allow_cpu: bool = False) -> Callable[[TestMethod], TestMethod]:
    """Never skips: the floor is for CPU ranks."""
    return lambda body: body


def parametrize(name: str, values: Iterable[Any]) -> Callable[[TestMethod], TestMethod]:
    """One argument's values, for `instantiate_parametrized_tests`."""

    def mark(body: TestMethod) -> TestMethod:
        body.parameter = (name, tuple(values))  # type: ignore[attr-defined]
        return body

    return mark


def instantiate_parametrized_tests(cls: type[DTensorTestBase]) -> None:
    """Replace each parametrized method by one method per value."""
    for method, body in list(vars(cls).items()):
        if not hasattr(body, "parameter"):
            continue
        name, values = body.parameter
        for value in values:
            setattr(cls, f"{method}_{name}_{value}", functools.partialmethod(body, **{name: value}))
        delattr(cls, method)


def run_tests() -> None:
    """Run the tests of the main module and exit with 0 where every rank of each did."""
    main = sys.modules["__main__"]
    classes = [c for c in vars(main).values() if isinstance(c, type) and issubclass(c, DTensorTestBase)]
    tests = [cls(name) for cls in classes for name in unittest.defaultTestLoader.getTestCaseNames(cls)]
    torch.manual_seed(_SEED)  # each rank is forked with this state
    gc.collect()
    gc.freeze()
    failed = [test.id() for test in tests if not _passes(test)]
    print(f"Ran {len(tests)} tests", f"FAILED {failed}" if failed else "OK", sep="\n", flush=True)
    sys.exit(1 if failed or not tests else 0)


def _passes(test: DTensorTestBase) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        test.file_name = str(Path(folder) / "rendezvous")
        test.temp_dir = str(Path(folder) / "temp_dir")
        os.mkdir(test.temp_dir)
        ranks = [_fork(test, rank) for rank in range(test.world_size)]
        statuses = [os.waitpid(pid, 0)[1] for pid in ranks]
    return not any(statuses)


def _fork(test: DTensorTestBase, rank: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        test.rank = rank
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // test.world_size))
        test.setUp()
        getattr(test, test._testMethodName)()
        test.tearDown()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
