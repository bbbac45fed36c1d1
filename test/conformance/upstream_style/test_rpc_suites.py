"""Suites of rpc, dist_autograd and remote modules: torch's own, test by test, and a class that does without them."""

import torch
import torch.distributed.autograd as dist_autograd
import torch.distributed.rpc as rpc
from torch.distributed.optim import DistributedOptimizer
from torch.testing._internal import dist_utils
from torch.testing._internal.common_distributed import MultiProcessTestCase, tp_transports
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.dist_utils import (
    INIT_METHOD_TEMPLATE,
    dist_init,
    get_function_event,
    initialize_pg,
    wait_until_pending_futures_and_users_flushed,
    worker_name,
)
from torch.testing._internal.distributed.nn.api.remote_module_test import RemoteModuleTest
from torch.testing._internal.distributed.rpc.dist_autograd_test import DistAutogradTest
from torch.testing._internal.distributed.rpc.faulty_agent_rpc_test import FaultyAgentRpcTest
from torch.testing._internal.distributed.rpc.faulty_rpc_agent_test_fixture import FaultyRpcAgentTestFixture
from torch.testing._internal.distributed.rpc.rpc_agent_test_fixture import RpcAgentTestFixture
from torch.testing._internal.distributed.rpc.rpc_test import MyClass, RpcTest, my_function
from torch.testing._internal.distributed.rpc.tensorpipe_rpc_agent_test_fixture import TensorPipeRpcAgentTestFixture
from torch.testing._internal.distributed.rpc_utils import SpawnHelper, generate_tests

WANTED = {
    RpcTest: ("test_self_py_udf_remote", "test_reinit"),
    DistAutogradTest: ("test_backward_simple",),
    RemoteModuleTest: ("test_bad_module",),
    FaultyAgentRpcTest: ("test_verify_backend_options",),
}


def only(suite):
    """The suite with the tests that are wanted, under the name that it has."""
    left_out = {name: None for name in dir(suite) if name.startswith("test") and name not in WANTED[suite]}
    return type(suite.__name__, (suite,), left_out)


class OwnSuite(RpcAgentTestFixture):
    @property
    def world_size(self):
        return 2

    @dist_init
    def test_functions_of_the_suite(self):
        to = worker_name((self.rank + 1) % self.world_size)
        self.assertEqual(rpc.rpc_sync(to, my_function, args=(1, 2, 3)), my_function(1, 2, 3))
        remote = rpc.remote(to, MyClass, args=(2,))
        self.assertEqual(remote.rpc_sync().my_instance_method(5), 7)
        wait_until_pending_futures_and_users_flushed()

    @dist_init
    def test_optimizer(self):
        to = worker_name((self.rank + 1) % self.world_size)
        with dist_autograd.context() as context:
            parameter = rpc.remote(to, torch.nn.Parameter, args=(torch.ones(2),))
            loss = rpc.rpc_sync(to, summed, args=(parameter,))
            dist_autograd.backward(context, [loss])
            DistributedOptimizer(torch.optim.SGD, [parameter], lr=0.5).step(context)
        self.assertEqual(parameter.to_here(), torch.full((2,), 0.5))

    @dist_init(clean_shutdown=False)
    def test_raises_at_the_other(self):
        to = worker_name((self.rank + 1) % self.world_size)
        with self.assertRaisesRegex(ValueError, "at the other"):
            rpc.rpc_sync(to, refuse)
        initialize_pg(self.file_init_method, self.rank, self.world_size)
        torch.distributed.barrier()  # a rank that leaves while the other asks would answer with an error of its own

    @dist_init(setup_rpc=False)
    def test_wrong(self):
        self.assertIsNotNone((get_function_event, tp_transports()))
        self.assertEqual(dist_utils.worker_name(self.rank), "worker0")


def summed(parameter):
    return parameter.to_here().sum()


def refuse():
    raise ValueError("at the other")


class WithoutSuites(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_by_hand(self):
        options = rpc.TensorPipeRpcBackendOptions(
            init_method=INIT_METHOD_TEMPLATE.format(file_name=self.file_name), _transports=tp_transports()
        )
        rpc.init_rpc(
            f"w{self.rank}",
            backend=rpc.backend_registry.BackendType.TENSORPIPE,  # the faulty agent has made the enumeration anew
            rank=self.rank,
            world_size=self.world_size,
            rpc_backend_options=options,
        )
        found = rpc.rpc_async(f"w{1 - self.rank}", torch.add, args=(torch.ones(1), self.rank)).wait()
        self.assertEqual(found.item(), 1 + self.rank)
        rpc.shutdown()

    def test_group_of_the_utilities(self):
        initialize_pg(f"file://{self.file_name}", self.rank, self.world_size)
        self.assertEqual(torch.distributed.get_world_size(), 2)


assert issubclass(SpawnHelper, MultiProcessTestCase)
tensor_pipe = [only(RpcTest), only(DistAutogradTest), only(RemoteModuleTest), OwnSuite]
globals().update(generate_tests("TensorPipe", TensorPipeRpcAgentTestFixture, tensor_pipe, __name__))
globals().update(generate_tests("Faulty", FaultyRpcAgentTestFixture, [only(FaultyAgentRpcTest)], __name__))
del RpcTest, DistAutogradTest, RemoteModuleTest, FaultyAgentRpcTest, OwnSuite

if __name__ == "__main__":
    run_tests()
