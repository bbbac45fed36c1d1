"""A process group whose ranks are threads of one process.

Each thread has its own world: its default group, its groups, their names. Groups of the same name in all threads meet,
and a collective is complete once all of them have come (`_engine.thread_rendezvous`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

from torch_testing_shim._cases.threads import collectives
from torch_testing_shim._cases.threads.collectives import Receipt, by, described, listed, ret_work, rows_of
from torch_testing_shim._cases.threads.thread_world import (
    ThreadLocalWorld,
    install_world,
    rendezvous_of_this_world,
    uninstall_world,
)
from torch_testing_shim._engine.devices import device_in_use
from torch_testing_shim._engine.thread_rendezvous import Call, Rendezvous

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

_BACKEND = "threaded"
#: Its stubs know each collective in several forms. Torch itself uses one, which is overridden here.
_ProcessGroup: Any = dist.ProcessGroup


class ProcessLocalGroup(_ProcessGroup):  # type: ignore[misc]
    """A group whose ranks are threads. Every collective is complete when its call returns, even an asynchronous one.

    Args:
        rank: this thread's rank in the group.
        world_size: number of ranks.
        name: the group's name, the same in all its threads.
        members: its ranks as global ranks, in its order; by default all up to `world_size`.
        rendezvous: where its ranks meet; by default those of the thread's world.
    """

    def __init__(
        self,
        rank: int,
        world_size: int,
        name: str = "0",
        members: Sequence[int] = (),
        rendezvous: Rendezvous | None = None,
    ) -> None:
        super().__init__(rank, world_size)
        self._rank = rank
        self._world_size = world_size
        self._name = name
        self._members = tuple(members) or tuple(range(world_size))
        self._rendezvous = rendezvous or rendezvous_of_this_world()
        self._numbers = itertools.count()
        self._routes: dict[tuple[int, int, int], itertools.count[int]] = {}

    def size(self) -> int:
        return self._world_size

    def rank(self) -> int:
        return self._rank

    @property
    def pg_name(self) -> str:
        """The group's name in its world."""
        return self._name

    @property
    def group_name(self) -> str:
        return self._name

    def getBackendName(self) -> str:
        return _BACKEND

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self._name!r}, rank={self._rank}, world_size={self._world_size})"

    def _meet(self, call: Call, brought: Any, work: Callable[[list[Any]], object]) -> dist.Work:
        rank = self._members[self._rank]
        self._rendezvous.come(self._name, next(self._numbers), self._members, rank, call, brought, work)()
        return ret_work(brought)

    def _alike(
        self, name: str, tensors: Any, work: Callable[[list[Any]], object], told: str = "", brought: Any = None
    ) -> dist.Work:
        """Run a collective to which all ranks bring tensors of the same sizes and types, and all else in `brought`."""
        text, compared = described(tensors)
        call = Call(name, f"{text}{told}", (told, *compared))
        return self._meet(call, tensors if brought is None else brought, work)

    def allreduce(self, tensors: Any, opts: Any = None) -> dist.Work:
        return self._all_reduce("all_reduce", listed(tensors), opts)

    def allreduce_coalesced(self, tensors: Any, opts: Any = None) -> dist.Work:
        return self._all_reduce("all_reduce_coalesced", tensors, opts)

    def _all_reduce(self, name: str, tensors: list[torch.Tensor], opts: Any) -> dist.Work:
        op = getattr(opts or dist.AllreduceOptions(), "reduceOp", opts)  # a test may pass the operator itself
        return self._alike(name, tensors, partial(collectives.all_reduce, op), by(op))

    def reduce(self, tensors: Any, opts: Any = None) -> dist.Work:
        opts = opts or dist.ReduceOptions()
        given = listed(tensors)

        def work(data: list[list[torch.Tensor]]) -> None:  # the others keep what they have
            copies = [given if rank == opts.rootRank else [t.clone() for t in given] for rank, given in enumerate(data)]
            collectives.all_reduce(opts.reduceOp, copies)

        return self._alike("reduce", given, work, f"{by(opts.reduceOp)} to rank {opts.rootRank} of the group")

    def broadcast(self, tensors: Any, opts: Any = None) -> dist.Work:
        root = (opts or dist.BroadcastOptions()).rootRank
        return self._alike(
            "broadcast", listed(tensors), partial(collectives.broadcast, root), f" from rank {root} of the group"
        )

    def barrier(self, opts: Any = None) -> dist.Work:
        return self._meet(Call("barrier"), [], lambda _: None)

    def allgather(self, output_tensors: Any, input_tensor: Any, opts: Any = None) -> dist.Work:
        return self._gather_call("all_gather", output_tensors, input_tensor)

    def _gather_call(self, name: str, outputs: Any, inputs: Any) -> dist.Work:
        """Gather inputs that may differ in size between ranks, not in type."""
        call = Call(name, described(inputs)[0], tuple(tensor.dtype for tensor in inputs))
        return self._meet(call, (outputs, inputs), collectives.all_gather)

    def all_gather_single(self, output: torch.Tensor, input: torch.Tensor, opts: Any = None) -> dist.Work:
        return self._gather_call("all_gather_into_tensor", [rows_of(output, self._world_size, input)], [input])

    def all_gather_single_coalesced(self, outputs: Any, inputs: Any, opts: Any = None) -> dist.Work:
        for output, tensor in zip(outputs, inputs, strict=True):
            self.all_gather_single(output, tensor)
        return ret_work(outputs)

    def allgather_coalesced(self, output_lists: Any, input_list: Any, opts: Any = None) -> dist.Work:
        """Gather several tensors; each rank's come as a list for each rank."""
        for position, tensor in enumerate(input_list):
            self.allgather([[outputs[position] for outputs in output_lists]], [tensor])
        return ret_work(output_lists)

    def gather(self, output_tensors: Any, input_tensors: Any, opts: Any = None) -> dist.Work:
        root = (opts or dist.GatherOptions()).rootRank
        work, told = partial(collectives.gather, root), f" to rank {root} of the group"
        return self._alike("gather", input_tensors, work, told, (output_tensors, input_tensors))

    def scatter(self, output_tensors: Any, input_tensors: Any, opts: Any = None) -> dist.Work:
        root = (opts or dist.ScatterOptions()).rootRank
        work, told = partial(collectives.scatter, root), f" from rank {root} of the group"
        return self._alike("scatter", output_tensors, work, told, (output_tensors, input_tensors))

    def reduce_scatter(self, output_tensor: Any, scatter_list: Any, opts: Any = None) -> dist.Work:
        return self._reduce_scatter("reduce_scatter", output_tensor, scatter_list, opts)

    def _reduce_scatter(self, name: str, outputs: Any, inputs: Any, opts: Any) -> dist.Work:
        op = (opts or dist.ReduceScatterOptions()).reduceOp
        return self._alike(name, inputs, partial(collectives.reduce_scatter, op), by(op), (outputs, inputs))

    def reduce_scatter_single(self, output: torch.Tensor, input: torch.Tensor, opts: Any = None) -> dist.Work:
        rows = rows_of(input, self._world_size, output)
        return self._reduce_scatter("reduce_scatter_tensor", [output], [rows], opts)

    def reduce_scatter_single_coalesced(self, outputs: Any, inputs: Any, opts: Any = None) -> dist.Work:
        for output, tensor in zip(outputs, inputs, strict=True):
            self.reduce_scatter_single(output, tensor, opts)
        return ret_work(outputs)

    def alltoall(self, output_tensor_list: Any, input_tensor_list: Any, opts: Any = None) -> dist.Work:
        call = Call("all_to_all", described(input_tensor_list)[0], tuple({t.dtype for t in input_tensor_list}))
        return self._meet(call, (output_tensor_list, input_tensor_list), collectives.all_to_all)

    def all_to_all_single(
        self,
        output: torch.Tensor,
        input: torch.Tensor,
        output_split_sizes: list[int] | None = None,
        input_split_sizes: list[int] | None = None,
        opts: Any = None,
    ) -> dist.Work:
        call = Call("all_to_all_single", described([input])[0], (input.dtype,))
        brought = (output, input, output_split_sizes, input_split_sizes)
        return self._meet(call, brought, collectives.all_to_all_single)

    def send(self, tensors: Any, dst: int, tag: int) -> dist.Work:
        """Send a copy, and return a completed work."""
        self._come_alone(self._rank, dst, tag, "send", [tensor.data.clone() for tensor in tensors])
        return ret_work(tensors)

    def recv(self, tensors: Any, src: int, tag: int) -> dist.Work:
        """Return a work that is complete when it has been waited for."""
        return Receipt(self._come_alone(src, self._rank, tag, "recv", tensors))

    def _come_alone(self, src: int, dst: int, tag: int, name: str, tensors: list[torch.Tensor]) -> Callable[[], None]:
        """Join the next rendezvous of a sender and a receiver, who are members of this group; return how to wait."""
        route = (src, dst, tag)
        number = next(self._routes.setdefault(route, itertools.count(1)))
        members, me = (self._members[src], self._members[dst]), self._members[self._rank]
        text, compared = described(tensors)
        call = Call("point to point:", f"{name} {text}", compared)
        name = f"{self._name}, from rank {members[0]} to rank {members[1]} with tag {tag}"
        return self._rendezvous.come(name, number, members, me, call, tensors, partial(collectives.broadcast, 0))

    def _start_coalescing(self, device: torch.device) -> None:
        """Do nothing: each call of a coalesced group is carried out at once."""

    def _end_coalescing(self, device: torch.device) -> dist.Work:
        return ret_work([])

    # The names of torch before 2.13.
    _allgather_base = all_gather_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    _reduce_scatter_base = reduce_scatter_single
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single


def create_threaded_pg(options: Any, _: object = None) -> ProcessLocalGroup:
    """Make this thread's part of a group; return when all parts are there."""
    size, rank = options.group_size, options.group_rank
    group = ProcessLocalGroup(rank, size, options.group_id, options.global_ranks_in_group)
    call = Call("the start of the group")
    group._meet(call, None, lambda _: None)
    return group


def install_threaded_pg(rendezvous: Rendezvous | None = None) -> ThreadLocalWorld:
    """Give each thread its own world, and torch the backend "threaded", until `uninstall_threaded_pg`. Return the
    holder of the worlds."""
    if _BACKEND not in dist.Backend.backend_list:
        devices = sorted({"cpu", "cuda", device_in_use().type})
        dist.Backend.register_backend(_BACKEND, create_threaded_pg, extended_api=True, devices=devices)
    return install_world(rendezvous)


def uninstall_threaded_pg() -> None:
    """Undo the last `install_threaded_pg`; torch still knows the backend's name."""
    uninstall_world()
