"""Helpers of common_distributed: devices of gloo, logged errors of DDP, debug levels, captured output, queues."""

import os
import queue
import sys
from contextlib import suppress

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.testing._internal import common_utils
from torch.testing._internal.common_distributed import (
    TIMEOUT_DEFAULT,
    MultiProcessTestCase,
    cleanup_temp_dir,
    create_device,
    create_tcp_store,
    has_efa,
    init_multigpu_helper,
    initialize_temp_directories,
    requires_gloo,
    requires_multicast_support,
    requires_nccl_version,
    requires_ucc,
    retrieve_result_from_completion_queue,
    skip_if_rocm_multiprocess,
    skip_if_win32,
    verify_ddp_error_logged,
    with_dist_debug_levels,
    with_nccl_blocking_wait,
)
from torch.testing._internal.common_utils import (
    TEST_WITH_DEV_DBG_ASAN,
    TEST_WITH_TSAN,
    TestCase,
    retry_on_connect_failures,
    run_tests,
    skip_but_pass_in_sandcastle,
)

if TEST_WITH_DEV_DBG_ASAN:
    print("Skip dev-asan as torch + multiprocessing spawn have known issues", file=sys.stderr)
    sys.exit(0)


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


class HelpersTest(TestCase):
    @retry_on_connect_failures
    def test_store_of_torchscript(self):
        self.assertIsNotNone(create_tcp_store(jit_class=False, use_libuv=False))

    def test_devices(self):
        self.assertEqual(set(init_multigpu_helper(2, "gloo")), {0, 1})
        self.assertIsNotNone(create_device(interface=None, lazy_init=True))
        self.assertIsInstance(has_efa(), bool)
        self.assertEqual(TIMEOUT_DEFAULT, 300)

    def test_folders(self):
        initialize_temp_directories()
        self.assertTrue(os.environ["INIT_METHOD"].startswith("file://"))
        folder = os.environ["TEMP_DIR"]
        self.assertEqual(sorted(os.listdir(folder)), ["barrier", "init_dir", "test_dir"])
        cleanup_temp_dir()
        self.assertFalse(os.path.exists(folder))

    def test_queue(self):
        class Alive:
            def is_alive(self):
                return True

        results = queue.Queue()
        results.put("result")
        self.assertEqual(retrieve_result_from_completion_queue(Alive(), results), "result")

    @with_nccl_blocking_wait
    def test_blocking(self):
        self.assertEqual(os.environ["TORCH_NCCL_BLOCKING_WAIT"], "1")

    @skip_but_pass_in_sandcastle("a bug")
    def test_skipped(self):
        self.fail("is skipped")

    def test_wrong_folder(self):
        self.assertIn("no_such_folder", os.listdir(os.getcwd()))


class ReducerTest(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def tearDown(self):
        super().tearDown()
        with suppress(OSError):
            os.remove(self.file_name)

    def group(self):
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)

    @requires_gloo()
    def test_own_group(self):
        options = dist.ProcessGroupGloo._Options()
        options._devices = [create_device(interface="lo")]
        store = dist.PrefixStore("own", dist.FileStore(self.file_name, self.world_size))
        group = dist.ProcessGroupGloo(store, self.rank, self.world_size, options)
        tensors = [torch.ones(1)]
        group.allreduce(tensors).wait()
        self.assertEqual(tensors[0].item(), 2)

    @requires_gloo()
    @skip_if_win32()
    @skip_if_rocm_multiprocess
    @with_dist_debug_levels(levels=["INFO"])
    def test_unused_parameters(self):
        self.group()
        model = DDP(Halves())
        model(torch.ones(1, 2)).sum().backward()
        with self.assertRaisesRegex(RuntimeError, "did not receive grad") as caught:
            model(torch.ones(1, 2))
        verify_ddp_error_logged(model, str(caught.exception))

    @requires_gloo()
    def test_error_that_is_not_logged(self):
        self.group()
        model = DDP(nn.Linear(2, 2))
        model(torch.ones(1, 2)).sum().backward()
        verify_ddp_error_logged(model, "no such error")

    @requires_gloo()
    @common_utils.skipIfRocm
    def test_errors_of_processes(self):
        if TEST_WITH_TSAN:
            sys.exit(0)
        self.group()
        with self.assertRaisesRegex(RuntimeError, "invalid root rank"):
            dist.broadcast(torch.ones(1), src=5)

    @requires_ucc()
    @requires_nccl_version((2, 10), "too old")
    @requires_multicast_support()
    def test_of_others(self):
        self.fail("is not built in")


if __name__ == "__main__":
    if torch.cuda._initialized:
        raise AssertionError("test_distributed must not have initialized CUDA context on main process")
    run_tests()
