"""Models of FSDP's tests, plain and wrapped, in ranks of another base class, with helpers that look into all ranks."""

import copy
import itertools

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.distributed.fsdp import CPUOffload, FullyShardedDataParallel as FSDP, ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy, always_wrap_policy, wrap
from torch.testing._internal.common_distributed import MultiProcessTestCase, requires_gloo
from torch.testing._internal.common_fsdp import (
    AlwaysWrapNestedWrappedModule,
    DEVICEInitMode,
    DummyDDP,
    DummyProcessGroup,
    FSDPInitMode,
    FSDPTestModel,
    MixtureOfExperts,
    ModuleWithDelay,
    NestedLinear,
    NestedWrappedModule,
    NestedWrappedModuleWithDelay,
    NonUniformReqGradNWM,
    SkipModel,
    SkipModule,
    TransformerWithSharedParams,
    _assert_module_states,
    _broadcast_state_dict,
    _get_state_dict,
    _maybe_wrap_fsdp,
    _zero_model,
    get_full_params,
    subtest_name,
)
from torch.testing._internal.common_utils import (
    FILE_SCHEMA,
    TEST_WITH_DEV_DBG_ASAN,
    TestCase,
    instantiate_parametrized_tests,
    parametrize,
    run_tests,
)

NAMES = {"True": "offload", "False": "no_offload", str(ShardingStrategy.NO_SHARD): "no_shard"}
OFFLOADS = [CPUOffload(offload_params=False)]


class OfOneProcess(TestCase):
    def group(self, rank=0, size=2):
        return DummyProcessGroup(rank=rank, size=size)

    def test_dummy_group(self):
        group = self.group(rank=1)
        self.assertEqual((group.rank(), group.size()), (1, 2))
        self.assertEqual(group.allreduce(torch.ones(1)).get_future().wait(), 1)

    @parametrize(
        "model_class", [NestedWrappedModule, AlwaysWrapNestedWrappedModule, NonUniformReqGradNWM, MixtureOfExperts]
    )
    def test_plain_models(self, model_class):
        model = model_class.init(self.group(), FSDPInitMode.NO_FSDP, DEVICEInitMode.DEVICE_NEVER, deterministic=True)
        self.assertIsInstance(model, FSDPTestModel)
        given = model.get_input(torch.device("cpu"))
        loss = model.get_loss(given, model(*given))
        self.assertEqual(loss.dim(), 0)

    def test_transformer(self):
        model = TransformerWithSharedParams.init(
            self.group(), FSDPInitMode.NO_FSDP, DEVICEInitMode.DEVICE_NEVER, deterministic=True
        )
        self.assertIs(model.output_proj.weight, model.embed_tokens.weight)
        given = model.get_input(torch.device("cpu"))
        model.run_backward(model.get_loss(given, model(*given)))
        self.assertEqual(len(model.get_ignored_modules()), 1)

    def test_delay(self):
        model = NestedWrappedModuleWithDelay.init(
            self.group(),
            FSDPInitMode.NO_FSDP,
            DEVICEInitMode.DEVICE_NEVER,
            deterministic=True,
            delay_after_loss_ms=0,
            delay_before_reduction_ms=0,
        )
        self.assertIsInstance(model, ModuleWithDelay)

    def test_skipping(self):
        self.assertEqual(SkipModule()(torch.ones(1, 10)).shape, (1, 10))
        self.assertEqual(SkipModel(double_nest=False)(torch.ones(1, 10)).shape, (1, 10))
        self.assertEqual(NestedLinear(fsdp_wrap=False)(torch.ones(1, 10)).shape, (1, 10))
        self.assertEqual(DummyDDP(nn.Linear(2, 2))(torch.ones(1, 2)).shape, (1, 2))

    def test_names(self):
        self.assertEqual(subtest_name(NAMES, True, ShardingStrategy.NO_SHARD, None), "offload_no_shard_none")

    def test_abstract(self):
        with self.assertRaisesRegex(TypeError, "abstract"):
            FSDPTestModel()

    def test_wrong(self):
        self.assertEqual(_maybe_wrap_fsdp(nn.Linear(1, 1), False).weight.shape, (2, 1))


class InRanks(MultiProcessTestCase):
    @property
    def world_size(self):
        return 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def tearDown(self):
        super().tearDown()

    def join(self):
        dist.init_process_group(
            "gloo", init_method=f"{FILE_SCHEMA}{self.file_name}", rank=self.rank, world_size=self.world_size
        )
        return dist.distributed_c10d._get_default_group()

    @requires_gloo()
    def test_wrapped(self):
        group = self.join()
        model = NestedWrappedModule.init(
            group,
            FSDPInitMode.RECURSIVE,
            DEVICEInitMode.DEVICE_NEVER,
            fsdp_kwargs={"device_id": torch.device("cpu"), "use_orig_params": True},
            deterministic=True,
        )
        self.assertTrue(any(isinstance(module, FSDP) for module in model.modules()))
        with FSDP.summon_full_params(model):
            _assert_module_states(model, group, self.assertEqual)
        dist.destroy_process_group()

    @requires_gloo()
    @parametrize("use_orig_params", [True, False])
    def test_full_parameters(self, use_orig_params):
        self.join()
        plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.fill_(0.5)
        model = FSDP(
            copy.deepcopy(plain),
            auto_wrap_policy=ModuleWrapPolicy({nn.Linear}),
            device_id=torch.device("cpu"),
            use_orig_params=use_orig_params,
        )
        full = sum(parameter.sum().item() for parameter in get_full_params(model))
        self.assertEqual(full, sum(parameter.sum().item() for parameter in plain.parameters()))
        _zero_model(model)
        self.assertEqual(sum(parameter.sum().item() for parameter in get_full_params(model)), 0)
        dist.destroy_process_group()

    @requires_gloo()
    def test_states(self):
        self.join()
        model = nn.Linear(2, 2)
        with torch.no_grad():
            model.weight.fill_(float(self.rank))
        state = _broadcast_state_dict(self.rank, _get_state_dict(model))
        self.assertEqual(state["weight"], torch.zeros(2, 2))
        self.assertEqual(len(list(itertools.chain(model.parameters()))), 2)
        self.assertIsNotNone((wrap, always_wrap_policy, OFFLOADS, TEST_WITH_DEV_DBG_ASAN))
        dist.destroy_process_group()

    @requires_gloo()
    def test_states_differ(self):
        group = self.join()
        model = nn.Linear(2, 2)
        with torch.no_grad():
            model.weight.fill_(float(self.rank))
        _assert_module_states(model, group, self.assertEqual)


instantiate_parametrized_tests(OfOneProcess)
instantiate_parametrized_tests(InRanks)

if __name__ == "__main__":
    run_tests()
