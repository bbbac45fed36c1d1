"""State that tests leave in process groups, and in what torch keeps there: messages, keys, names, meshes, tables."""

import ctypes
import datetime
import os

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as c10d
from left_state import LeftState, LeftStateTestCase, with_tests
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from torch_testing_shim.common_utils import run_tests

#: Keeps what a test makes, as a cache would.
KEPT: list[object] = []


def keep(value: object) -> None:
    """Keep a value for good, where no table of Python's shows it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def start(test: LeftStateTestCase) -> None:
    """The default group, in the file of the test's own."""
    if not dist.is_initialized():
        store = dist.FileStore(test.file_name, test.world_size)
        dist.init_process_group("gloo", store=store, rank=test.rank, world_size=test.world_size)


def started(test: LeftStateTestCase) -> c10d.ProcessGroup:
    start(test)
    return dist.group.WORLD


def store_of(test: LeftStateTestCase) -> dist.Store:
    start(test)
    return c10d._get_default_store()


def is_resolved(name: str) -> bool:
    """Whether functional collectives know a group of this name."""
    try:
        torch._C._distributed_c10d._resolve_process_group(name)
    except (LookupError, RuntimeError):
        return False
    return True


def start_with_time_out(test: LeftStateTestCase) -> None:
    dist.destroy_process_group()
    store = dist.FileStore(f"{test.file_name}.again", test.world_size)
    seconds = datetime.timedelta(seconds=7)
    dist.init_process_group("gloo", store=store, rank=test.rank, world_size=test.world_size, timeout=seconds)


def time_out(test: LeftStateTestCase) -> object:
    return started(test)._get_backend(torch.device("cpu")).options._timeout


def message(test: LeftStateTestCase) -> float:
    """The value that rank 0 gets from rank 1, who sends it now."""
    start(test)
    tensor = torch.zeros(1)
    if test.rank == 0:
        dist.recv(tensor, 1)
    else:
        dist.send(tensor + 1, 0)
    dist.barrier()
    return tensor.item()


def send_in_vain(test: LeftStateTestCase) -> None:
    start(test)
    if test.rank == 1:
        keep(dist.isend(torch.full((1,), 7.0), 0))


def total(test: LeftStateTestCase) -> float:
    start(test)
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    return tensor.item()


def reduce_alone(test: LeftStateTestCase) -> None:
    """One rank begins a collective that the other never does."""
    start(test)
    if test.rank == 1:
        keep(dist.all_reduce(torch.full((1,), 7.0), async_op=True))


def reduce_without_waiting(test: LeftStateTestCase) -> None:
    start(test)
    keep(dist.all_reduce(torch.full((1 << 18,), 7.0), async_op=True))


def mesh(test: LeftStateTestCase) -> object:
    start(test)
    return init_device_mesh("cpu", (test.world_size,))


def register_strategy(test: LeftStateTestCase) -> None:
    del test
    propagator = DTensor._op_dispatcher.sharding_propagator
    propagator.register_op_strategy(torch.ops.aten.special_i0.default, lambda schema: None)


def has_strategy() -> bool:
    propagator = DTensor._op_dispatcher.sharding_propagator
    return torch.ops.aten.special_i0.default in propagator.op_strategy_funcs


def destroy_without_books(test: LeftStateTestCase) -> None:
    started(test)
    dist.destroy_process_group()


def swap_ranks(test: LeftStateTestCase) -> None:
    """A default group in which the ranks have changed places, left as it is."""
    dist.destroy_process_group()
    store = dist.FileStore(f"{test.file_name}.swapped", test.world_size)
    dist.init_process_group("gloo", store=store, rank=1 - test.rank, world_size=test.world_size)
    dist.barrier()


def rank_seen(test: LeftStateTestCase) -> bool:
    start(test)
    return dist.get_rank() == test.rank


def groups(test: LeftStateTestCase) -> list[str]:
    start(test)
    return sorted(c10d._world.pg_names.values())


def new_name(test: LeftStateTestCase) -> str:
    """The name that the next group gets."""
    start(test)
    return dist.new_group([0, 1]).group_name


def train(test: LeftStateTestCase) -> float:
    """One step of a model of FSDP2."""
    from torch.distributed.fsdp import fully_shard

    start(test)
    torch.manual_seed(0)
    model = fully_shard(torch.nn.Linear(4, 4), mesh=mesh(test))
    loss = model(torch.ones(2, 4)).sum()
    loss.backward()
    return round(loss.item(), 4)


class GroupsLeft(LeftStateTestCase):
    destroy_pg_upon_exit = False
    states = (
        LeftState("group", start, lambda _: dist.is_initialized(), everywhere=True),
        LeftState(
            "groups beside the default one",
            lambda test: (start(test), dist.new_group([0, 1]), dist.new_group([0])),
            groups,
            everywhere=True,
        ),
        LeftState("counted groups", lambda test: new_name(test), new_name, everywhere=True),
        LeftState(
            "group of another world",
            swap_ranks,
            rank_seen,
            everywhere=True,
        ),
        LeftState("name for functional collectives", start, lambda _: is_resolved("0"), everywhere=True),
        LeftState(
            "time-out",
            start_with_time_out,
            time_out,
            everywhere=True,
        ),
        LeftState(
            "time-out set later",
            lambda test: c10d._set_pg_timeout(datetime.timedelta(seconds=7), started(test)),
            time_out,
            everywhere=True,
        ),
        LeftState(
            "key in the store",
            lambda test: store_of(test).set("left", "1"),
            lambda test: store_of(test).check(["left"]),
            everywhere=True,
        ),
        LeftState(
            "counter in the store",
            lambda test: store_of(test).add("counter", 3),
            lambda test: store_of(test).add("counter", 0),
            everywhere=True,
        ),
        LeftState("message that nobody received", send_in_vain, message, everywhere=True),
        LeftState("collective of one rank", reduce_alone, total, everywhere=True),
        LeftState("collective that nobody waited for", reduce_without_waiting, total, everywhere=True),
        LeftState("group destroyed", destroy_without_books, lambda test: total(test), everywhere=True),
        LeftState(
            "mesh kept", lambda test: KEPT.append(mesh(test)), lambda _: len(KEPT), replaced="KEPT", everywhere=True
        ),
        LeftState(
            "group kept", lambda test: KEPT.append(started(test)), lambda _: len(KEPT), replaced="KEPT", everywhere=True
        ),
        LeftState("strategy of DTensor", register_strategy, lambda _: has_strategy()),
        LeftState("variable of rendezvous", lambda _: os.environ.update(RANK="7"), lambda _: os.environ.get("RANK")),
    )
    if hasattr(torch.cpu.Stream, "record_event"):  # torch 2.6 has no fully_shard on the CPU
        states += (LeftState("model of FSDP", lambda test: train(test), train, everywhere=True),)


with_tests(GroupsLeft)

if __name__ == "__main__":
    run_tests()
