"""generate_tests of rpc_utils: suites of RPC, made for TensorPipe, with torch's own suite among them."""

import torch
import torch.distributed.rpc as rpc
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.dist_utils import dist_init, worker_name
from torch.testing._internal.distributed.rpc.examples.parameter_server_test import ParameterServerTest
from torch.testing._internal.distributed.rpc.rpc_agent_test_fixture import RpcAgentTestFixture
from torch.testing._internal.distributed.rpc.tensorpipe_rpc_agent_test_fixture import TensorPipeRpcAgentTestFixture
from torch.testing._internal.distributed.rpc_utils import GENERIC_TESTS, generate_tests


class CallsTest(RpcAgentTestFixture):
    @dist_init
    def test_call(self):
        to = worker_name((self.rank + 1) % self.world_size)
        self.assertEqual(rpc.rpc_sync(to, torch.add, args=(torch.ones(2), 1)), torch.full((2,), 2.0))

    @dist_init
    def test_remote_value(self):
        to = worker_name((self.rank + 1) % self.world_size)
        self.assertEqual(
            rpc.remote(to, torch.add, args=(torch.ones(2), self.rank)).to_here(), torch.ones(2) + self.rank
        )

    @dist_init(setup_rpc=False)
    def test_wrong(self):
        self.assertEqual(self.rank, 0)


assert ParameterServerTest in GENERIC_TESTS
globals().update(generate_tests("TensorPipe", TensorPipeRpcAgentTestFixture, [CallsTest], __name__))
globals().update(generate_tests("TensorPipe", TensorPipeRpcAgentTestFixture, [ParameterServerTest], __name__))
del ParameterServerTest, CallsTest

if __name__ == "__main__":
    run_tests()
