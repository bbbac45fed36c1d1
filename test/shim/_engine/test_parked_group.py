"""Process groups that share a backend one after the other, in real ranks over real gloo: what a test sees is as with a
new group, and every doubt makes a new one."""

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch._C._distributed_c10d import DebugLevel, FileStore, get_debug_level, set_debug_level
from torch.distributed import distributed_c10d

from torch_testing_shim._engine import parked_backend
from torch_testing_shim._engine.parked_group import GroupParking
from torch_testing_shim.common_distributed import MultiProcessTestCase
from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests, subtest

RANKS = 3
CPU = torch.device("cpu")
#: Whether the connections of the last group serve the next one.
PARKED, NEW = True, False


class ParkedTestCase(MultiProcessTestCase):
    """A test case whose bodies are whole sets of tests in reused ranks."""

    world_size = RANKS

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @contextmanager
    def parking(self, leave_seconds=20.0):
        folder = self.folder = Path(self.file_name).parent / "parked"
        folder.mkdir(exist_ok=True)
        self.groups = 0
        self.parked = GroupParking(folder)
        self.parked.install()
        try:
            with mock.patch.object(parked_backend, "_LEAVE_SECONDS", leave_seconds):  # the machine may be busy
                yield self.parked
        finally:
            self.parked.close()
        self.assertNotIn("parking", distributed_c10d._new_process_group_helper.__code__.co_freevars)

    def next_file(self):
        self.groups += 1
        return f"{self.file_name}.{self.groups}"

    def init(self, **changes):
        """Make the default group of one test, and use it. Return its gloo backend."""
        chosen = {"rank": self.rank, "world_size": RANKS, "init_method": f"file://{self.next_file()}", **changes}
        dist.init_process_group("gloo", **{name: value for name, value in chosen.items() if value is not None})
        backend = dist.group.WORLD._get_backend(CPU)
        self.assert_sums()
        return backend

    def assert_sums(self):
        value = torch.tensor([float(dist.get_rank())])
        dist.all_reduce(value)
        self.assertEqual(sum(range(dist.get_world_size())), value.item())

    def assert_next(self, is_parked, last, **changes):
        """End a test whose backend was `last`, and begin another. Return the new backend."""
        self.parked.between_tests()
        self.assertFalse(dist.is_initialized())
        backend = self.init(**changes)
        self.assertEqual(is_parked, backend is last)
        return backend


def seen():
    """Return what a test can see of its default group and torch's books."""
    group, world = dist.group.WORLD, distributed_c10d._world
    return {
        "names": (group.group_name, group.group_desc, group.bound_device_id, repr(group._device_types)),
        "found": distributed_c10d._resolve_process_group(group.group_name) is group,
        "books": [
            [value if not isinstance(value, dist.ProcessGroup) else "group" for value in book.values()]
            for book in (world.pg_names, world.pg_group_ranks, world.pg_backend_config, world.pg_to_tag)
        ],
        "backends": [name for name, _ in world.pg_map.values()],
        "stores": [type(store).__name__ for _, store in world.pg_map.values()],
        "tags": {tag: len(groups) for tag, groups in world.tags_to_pg.items()},
        "count": world.group_count,
        "coalescing": dict(world.pg_coalesce_state),
        "backend": (dist.get_backend(), dist.get_backend_config(), dist.get_rank(), dist.get_world_size()),
        "functional": functional.all_reduce(torch.ones(1), "sum", group).tolist(),
        "hooks": group._has_hooks() if hasattr(torch.distributed.ProcessGroup, "split") else False,
        "timeout": group._get_backend(CPU).options._timeout,
    }


class LooksNew(ParkedTestCase):
    def test_books(self):
        with self.parking():
            first = self.init()
            as_new = seen()
            dist.destroy_process_group()
            self.assertFalse(dist.is_initialized())
            self.assertFalse(distributed_c10d._world.pg_map)
            self.assertIsNone(dist.group.WORLD)
            self.assert_next(PARKED, first)
            self.assertEqual(as_new, seen())
        self.assertEqual([], list(self.folder.glob("*.agreement")))

    def test_second_group_of_a_test_is_new(self):
        with self.parking():
            first = self.init()
            second = self.assert_next(PARKED, first)
            dist.destroy_process_group()
            third = self.init()
            self.assertIsNot(second, third)
            self.assert_next(PARKED, third)

    def test_timeout(self):
        short = timedelta(milliseconds=300)
        with self.parking():
            first = self.init()
            second = self.assert_next(NEW, first, timeout=short)
            second = self.assert_next(PARKED, second, timeout=short)
            if self.rank:
                with self.assertRaisesRegex(RuntimeError, "(?i)timed out"):
                    dist.broadcast(torch.ones(1), 0)
            third = self.assert_next(NEW, second, timeout=short)
            distributed_c10d._set_pg_timeout(timedelta(seconds=60))
            self.assert_next(NEW, third, timeout=short)

    def test_stores(self):
        with self.parking():
            path = self.next_file()
            first = self.init(init_method=None, store=FileStore(path, RANKS))
            store = FileStore(self.next_file(), RANKS)
            self.assert_next(PARKED, first, init_method=None, store=store)
            distributed_c10d._get_default_store().set(f"told by {self.rank}", "yes")
            self.assertEqual(b"yes", distributed_c10d._get_default_store().get(f"told by {(self.rank + 1) % RANKS}"))

    def test_file_of_the_last_group_and_subgroups(self):
        """Nothing of the last group is in the file, which it has removed at its end."""
        with self.parking():
            method = f"file://{self.next_file()}"
            first = self.init(init_method=method)
            for round in range(2):
                own = dist.new_group([0, 1]), dist.new_group([0, 1, 2])
                value = torch.ones(1)
                dist.all_reduce(value, group=own[1])
                self.assertEqual(3.0, value.item())
                if round == 0:
                    del own
                    self.assert_next(PARKED, first, init_method=method)

    def test_work_that_nobody_waits_for(self):
        with self.parking():
            first = self.init()
            dist.all_reduce(torch.ones(1000), async_op=True)
            self.assert_next(PARKED, first)

    def test_world_of_one(self):
        with self.parking():
            first = self.init(rank=0, world_size=1, init_method=f"file://{self.next_file()}.{self.rank}")
            self.assert_next(PARKED, first, rank=0, world_size=1, init_method=f"file://{self.next_file()}.{self.rank}")


def send_in_a_ring(case):
    dist.isend(torch.ones(1), (case.rank + 1) % RANKS)  # nobody receives it


def enter_alone(case):
    if case.rank == 0:
        dist.broadcast(torch.ones(1), 0, async_op=True)


class StandIn:
    """Makes gloo backends in the place of torch's class, and keeps the last."""

    def __init__(self, gloo):
        self.gloo = gloo

    def __call__(self, *args, **kwargs):
        self.made = self.gloo(*args, **kwargs)
        return self.made

    def __instancecheck__(self, instance):
        return isinstance(instance, self.gloo)


class Doubts(ParkedTestCase):
    @parametrize(
        "leave",
        [subtest(send_in_a_ring, name="message"), subtest(enter_alone, name="collective")],
    )
    def test_left_in_the_group(self, leave):
        with self.parking():
            first = self.init()
            leave(self)
            second = self.assert_next(NEW, first)
            self.assert_next(PARKED, second)

    @parametrize(
        "wish",
        [
            subtest({"pg_options": "Options"}, name="options"),
            subtest({"rank": "turned"}, name="ranks"),
            subtest({"world_size": 1, "rank": 0}, name="size"),
        ],
    )
    def test_other_wish(self, wish):
        with self.parking():
            first = self.init()
            changes = dict(wish)
            if "pg_options" in changes:
                changes["pg_options"] = distributed_c10d.ProcessGroupGloo._Options()
            if changes.get("rank") == "turned":
                changes["rank"] = (self.rank + 1) % RANKS
            if "world_size" in changes:
                changes["init_method"] = f"file://{self.next_file()}.{self.rank}"
            second = self.assert_next(NEW, first, **changes)
            self.assert_next(NEW, second)

    def test_wish_of_one_rank(self):
        """The others do not wait for it."""
        with self.parking():
            first = self.init()
            began = time.monotonic()
            self.assert_next(
                NEW, first, **({"pg_options": distributed_c10d.ProcessGroupGloo._Options()} if self.rank == 1 else {})
            )
            self.assertLess(time.monotonic() - began, parked_backend._ASK_SECONDS)

    def test_environment(self):
        with self.parking():
            first = self.init()
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
            self.assert_next(NEW, first)

    def test_debug_level(self):
        with self.parking():
            first = self.init()
            level = get_debug_level()
            set_debug_level(DebugLevel.DETAIL)
            second = self.assert_next(NEW, first)
            self.assertIn("Wrapper", type(second).__name__)
            set_debug_level(level)
            self.assert_next(NEW, second)

    def test_hook(self):
        with self.parking():
            first = self.init()
            try:
                dist.group.WORLD._register_on_completion_hook(lambda work: None)
            except RuntimeError:
                return  # this torch has no hooks for gloo
            self.assert_next(NEW, first)

    def test_replaced_class(self):
        """A test that replaces torch's class gets what it has put there."""
        with self.parking():
            first = self.init()
            self.parked.between_tests()

            stand_in = StandIn(distributed_c10d.ProcessGroupGloo)
            with mock.patch.object(distributed_c10d, "ProcessGroupGloo", stand_in):
                self.assertIs(self.init(), stand_in.made)
            self.assert_next(NEW, first)

    def test_rank_that_leaves_early(self):
        """Others learn of it, as where it has closed its connections at once."""
        with self.parking(leave_seconds=0.1):
            self.init()
            if self.rank == 1:
                dist.destroy_process_group()
                self.assertIsNone(self.parked._parked)
            else:
                with self.assertRaisesRegex(RuntimeError, "(?i)closed by peer|reset by peer"):
                    dist.all_reduce(torch.ones(1))
            self.parked.between_tests()
            self.assertIsNone(self.parked._parked)
            second = self.init()
            self.assert_next(PARKED, second)

    def test_rank_that_does_not_come_back(self):
        with self.parking():
            first = self.init()
            self.parked.between_tests()
            if self.rank == 1:
                time.sleep(0.4)
            with mock.patch.object(parked_backend, "_ASK_SECONDS", 0.1):
                second = self.init()
            self.assertIsNot(first, second)


instantiate_parametrized_tests(Doubts)


if __name__ == "__main__":
    run_tests()
