"""The models of `common_dist_composable`: their parameters' names, and what they compute."""

import torch
import torch.nn as nn

from torch_testing_shim.common_dist_composable import (
    CompositeModel,
    CompositeParamModel,
    FakeSequential,
    NestedSequentialModel,
    UnitModule,
    UnitParamModule,
)
from torch_testing_shim.common_utils import TestCase, run_tests

UNIT = [f"{layer}.{kind}" for layer in ("l1", "seq.1", "l2") for kind in ("weight", "bias")]


def names(module):
    return [name for name, _ in module.named_parameters()]


class Models(TestCase):
    def setUp(self):
        super().setUp()
        self.inputs = torch.rand(2, 100)

    def test_unit_module(self):
        model = UnitModule(torch.device("cpu"))
        self.assertEqual(UNIT, names(model))
        self.assertEqual({(100, 100), (100,)}, {tuple(parameter.shape) for parameter in model.parameters()})
        hidden = model.seq[1](model.l1(self.inputs).relu()).relu()
        self.assertEqual(model(self.inputs), model.l2(hidden))
        self.assertEqual("meta", UnitModule(torch.device("meta")).seq[1].weight.device.type)

    def test_composite_model(self):
        model = CompositeModel(torch.device("cpu"))
        units = [f"{unit}.{name}" for unit in ("u1", "u2") for name in UNIT]
        self.assertEqual(["l1.weight", "l1.bias", *units, "l2.weight", "l2.bias"], names(model))
        self.assertEqual(model(self.inputs), model.l2(model.u2(model.u1(model.l1(self.inputs)))))

    def test_unit_param_module(self):
        model = UnitParamModule(torch.device("cpu"))
        self.assertEqual(["p", "l.weight", "l.bias", "seq.1.weight", "seq.1.bias"], names(model))
        self.assertEqual(model(self.inputs), model.seq(model.l(self.inputs)) @ model.p)

    def test_composite_param_model(self):
        model = CompositeParamModel(torch.device("cpu"))
        units = [f"{unit}.{name}" for unit in ("u1", "u2") for name in UNIT]
        self.assertEqual(["p", "l.weight", "l.bias", *units], names(model))
        self.assertEqual((100, 100), tuple(model.state_dict()["buffer"].shape))
        self.assertEqual(model(self.inputs), model.u2(model.u1(model.l(self.inputs))) @ model.p)

    def test_fake_sequential(self):
        layer = nn.Linear(100, 3)
        model = FakeSequential(layer, nn.ReLU())
        self.assertEqual(model(self.inputs), layer(self.inputs).relu())
        self.assertEqual([], list(model.children()))

    def test_nested_sequential_model(self):
        model = NestedSequentialModel(torch.device("cpu"))
        found = ["seq1.0.weight", "seq1.0.bias", "seq1.2.weight", "seq1.2.bias", "lin.weight", "lin.bias"]
        self.assertEqual([*found, "seq2.1.weight", "seq2.1.bias"], names(model))
        sequences = [name for name, module in model.named_modules() if isinstance(module, FakeSequential)]
        self.assertEqual(["seq1.1", "seq2.2"], sequences)
        inputs = torch.rand(5, 1)
        self.assertEqual(model(inputs), model.seq2(model.lin(model.seq1(inputs))))
        self.assertEqual((5, 4), tuple(model(inputs).shape))


if __name__ == "__main__":
    run_tests()
