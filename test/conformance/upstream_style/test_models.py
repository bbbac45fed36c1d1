"""Models and tables of the harness: over meshes, wrapped one by one, and every optimizer of torch's own list."""

import torch
from torch.distributed._composable import replicate
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_dist_composable import CompositeParamModel, UnitModule
from torch.testing._internal.common_fsdp import MLP, DoubleLinear
from torch.testing._internal.common_modules import module_db, modules
from torch.testing._internal.common_optimizers import optim_db, optims
from torch.testing._internal.common_utils import TestCase, run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import (
    DTensorTestBase,
    MLPModule,
    ModelArgs,
    Transformer,
    with_comms,
)
from torch.testing._internal.distributed.common_state_dict import VerifyStateDictMixin
from torch.testing._internal.two_tensor import TwoTensor


class ModelsTest(DTensorTestBase, VerifyStateDictMixin):
    @property
    def world_size(self):
        return 2

    @with_comms
    def test_parallel_perceptron(self):
        plain, parallel = MLPModule("cpu"), MLPModule("cpu")
        parallel.load_state_dict(plain.state_dict())
        plan = {"net1": ColwiseParallel(), "net2": RowwiseParallel()}
        parallel = parallelize_module(parallel, self.build_device_mesh(), plan)
        x = torch.full((2, 10), 0.5)
        self.assertEqual(parallel(x), plain(x))

    @with_comms
    def test_transformer(self):
        model = Transformer(ModelArgs(dropout_p=0.0))
        fully_shard(model, mesh=self.build_device_mesh())
        model(torch.ones(2, 4, dtype=torch.long)).sum().backward()
        self.assertTrue(all(parameter.grad is not None for parameter in model.parameters()))

    @with_comms
    def test_wrapped_one_by_one(self):
        model = CompositeParamModel(torch.device("cpu"))
        self.assertIsInstance(model.u1, UnitModule)
        replicate(model.u1)
        fully_shard(model.u2, mesh=self.build_device_mesh())
        model(torch.ones(2, 100)).sum().backward()

    @with_comms
    def test_double_linear_is_wrong(self):
        first, second = DoubleLinear(4)(torch.ones(1, 4))
        self.assertEqual(first, second)


class TablesTest(TestCase):
    @optims([info for info in optim_db if info.optim_cls.__name__ in ("SGD", "AdamW")])
    def test_optimizers(self, device, dtype, optim_info):
        for given in optim_info.optim_inputs_func(device=device):
            model = MLP(2)
            optim = optim_info.optim_cls(model.parameters(), **given.kwargs)
            model(torch.ones(1, 2)).sum().backward()
            optim.step()

    @modules([info for info in module_db if info.name in ("nn.Linear", "nn.BatchNorm1d")])
    def test_modules(self, device, dtype, module_info, training):
        inputs = module_info.module_inputs_func(module_info, device, dtype, False, training)
        self.assertGreater(len(inputs), 0)

    def test_subclass(self, device):
        self.assertEqual((TwoTensor(torch.ones(2), torch.zeros(2)) + 1).b, torch.ones(2))


instantiate_device_type_tests(TablesTest, globals(), only_for="cpu")

if __name__ == "__main__":
    run_tests()
