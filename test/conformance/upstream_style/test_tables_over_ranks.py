"""Tables of torch over several ranks: operators, modules and optimizers on shards, on threads and in processes."""

import copy
import threading
import unittest
from functools import partial

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module, distribute_tensor
from torch.testing._internal.common_device_type import (
    OpDTypes,
    dtypes,
    instantiate_device_type_tests,
    onlyCPU,
    onlyCUDA,
    ops,
    skip,
    skipOps,
    tol,
    toleranceOverride,
    xfail,
)
from torch.testing._internal.common_distributed import MultiThreadedTestCase, skip_if_lt_x_gpu
from torch.testing._internal.common_methods_invocations import DecorateInfo, op_db
from torch.testing._internal.common_modules import TrainEvalMode, module_db, modules
from torch.testing._internal.common_optimizers import optim_db, optims
from torch.testing._internal.common_utils import parametrize, run_tests, set_rng_seed, suppress_warnings
from torch.testing._internal.distributed._tensor.common_dtensor import (
    DTensorOpTestBase,
    DTensorTestBase,
    with_comms,
)
from torch.utils._pytree import tree_map

DRAWING = threading.Lock()
POINTWISE = [op for op in op_db if op.name in ("sin", "abs", "where", "clamp") and not op.variant_test_name]
REDUCING = [op for op in op_db if op.name in ("amax", "mean", "median") and not op.variant_test_name]
MODULES = [info for info in module_db if info.name in ("nn.Linear", "nn.LayerNorm", "nn.Embedding")]
OPTIMIZERS = [info for info in optim_db if info.optim_cls.__name__ in ("Adam", "SGD")]


class TestOperatorsOnThreads(DTensorOpTestBase):
    @property
    def world_size(self):
        return 2

    def samples(self, op, dtype, count=2):
        with DRAWING:  # the threads share one generator
            set_rng_seed(0)
            return list(op.sample_inputs("cpu", dtype))[:count]

    def replicated(self, value):
        mesh = self.build_device_mesh()
        to_mesh = lambda each: distribute_tensor(each, mesh, [Replicate()]) if isinstance(each, torch.Tensor) else each  # noqa: E731
        return tree_map(to_mesh, value)

    @suppress_warnings
    @ops(POINTWISE, allowed_dtypes=(torch.float32,))
    def test_replicated(self, dtype, op):
        for sample in self.samples(op, dtype):
            expected = op(sample.input, *sample.args, **sample.kwargs)
            args, kwargs = self.replicated((sample.input, *sample.args)), self.replicated(sample.kwargs)
            self.assertEqual(op(*args, **kwargs).full_tensor(), expected)

    @toleranceOverride({torch.float32: tol(atol=1e-4, rtol=1e-4)})
    @skipOps({xfail("median"), skip("amax", device_type="cpu")})
    @ops(REDUCING, allowed_dtypes=(torch.float32,))
    def test_reduced(self, dtype, op):
        self.assertNotEqual(op.name, "median")
        whole = torch.arange(8.0).reshape(4, 2)
        sharded = distribute_tensor(whole, self.build_device_mesh(), [Shard(0)])
        self.assertEqual(op(sharded).full_tensor(), op(whole))

    @ops(POINTWISE[:1], dtypes=OpDTypes.any_one)
    def test_wrong(self, dtype, op):
        self.assertEqual(dist.get_rank(), 0)

    @onlyCUDA
    @ops(POINTWISE, allowed_dtypes=(torch.float32,))
    def test_on_cuda(self, dtype, op):
        self.fail("must not run on the CPU")


class TestModulesOnThreads(MultiThreadedTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_threads()

    @modules(MODULES, train_eval_mode=TrainEvalMode.train_only, allowed_dtypes=(torch.float32,))
    def test_distributed(self, device, dtype, module_info, training):
        mesh = dist.init_device_mesh("cpu", (2,))
        with DRAWING:
            set_rng_seed(0)
            given = module_info.module_inputs_func(module_info, device, dtype, False, training)[0]
            module = module_info.module_cls(*given.constructor_input.args, **given.constructor_input.kwargs)
        expected = module(*given.forward_input.args, **given.forward_input.kwargs)
        parallel = distribute_module(copy.deepcopy(module), mesh)
        to_mesh = partial(distribute_tensor, device_mesh=mesh, placements=[Replicate()])
        args, kwargs = tree_map(to_mesh, (given.forward_input.args, given.forward_input.kwargs))
        self.assertEqual(parallel(*args, **kwargs).full_tensor(), expected)

    @optims(OPTIMIZERS, dtypes=[torch.float32])
    def test_sharded_step(self, device, dtype, optim_info):
        model, alone = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)
        with torch.no_grad():
            model.weight.fill_(1.0)
            alone.weight.fill_(1.0)
        fully_shard(model)
        for each in (model, alone):
            optimizer = optim_info.optim_cls(each.parameters(), lr=0.1)
            each(torch.ones(2, 4)).sum().backward()
            optimizer.step()
        self.assertIsInstance(model.weight, DTensor)
        self.assertEqual(model.weight.full_tensor(), alone.weight)

    @parametrize("dim", [0, 1])
    @dtypes(torch.float32, torch.int64)
    def test_dimensions(self, device, dtype, dim):
        whole = torch.arange(8, dtype=dtype).reshape(4, 2)
        sharded = distribute_tensor(whole, dist.init_device_mesh("cpu", (2,)), [Shard(dim)])
        self.assertEqual(sharded.full_tensor(), whole)

    @skip_if_lt_x_gpu(1)
    def test_needs_an_accelerator(self, device):
        self.fail("there is none")

    @unittest.expectedFailure
    def test_expected_failure(self, device):
        self.assertEqual(self.rank, -1)


class TestInProcesses(DTensorTestBase):
    @property
    def world_size(self):
        return 2

    @onlyCPU
    @with_comms
    @parametrize("placement", [Shard(0), Replicate()], name_fn=lambda placement: type(placement).__name__)
    def test_placements(self, device, placement):
        sharded = distribute_tensor(torch.arange(4.0), self.build_device_mesh(), [placement])
        self.assertEqual(sharded.full_tensor(), torch.arange(4.0))
        self.assertEqual(torch.device(device).type, self.device_type)

    @ops([op for op in op_db if op.name == "neg"], allowed_dtypes=(torch.float32,))
    @with_comms
    def test_operator(self, device, dtype, op):
        self.assertEqual(op(distribute_tensor(torch.ones(2), self.build_device_mesh())).full_tensor(), -torch.ones(2))


assert callable(partial(DecorateInfo, unittest.skip("so")))
instantiate_device_type_tests(TestOperatorsOnThreads, globals(), only_for=("cpu",))
instantiate_device_type_tests(TestModulesOnThreads, globals(), only_for=("cpu",))
instantiate_device_type_tests(TestInProcesses, globals(), only_for=("cpu",))

if __name__ == "__main__":
    run_tests()
