"""The models of `common_dtensor`: what they compute, and that splitting the transformer over meshes changes nothing."""

import subprocess
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from torch_testing_shim import _transformer_plan  # noqa: F401  # so that no rank has to import it
from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import (
    DTensorTestBase,
    MLPModule,
    MLPStacked,
    ModelArgs,
    RMSNormPython,
    Transformer,
    TransformerBlock,
    with_comms,
)

BLOCK = {
    "attention_norm.weight": (16,),
    "attention_norm.bias": (16,),
    **{f"attention.{name}.weight": (16, 16) for name in ("wq", "wk", "wv", "wo")},
    "ffn_norm.weight": (16,),
    "ffn_norm.bias": (16,),
}
FEED_FORWARD = {
    "feed_forward.w1.weight": (64, 16),
    "feed_forward.w1.bias": (64,),
    "feed_forward.w2.weight": (16, 64),
    "feed_forward.w2.bias": (16,),
}


def shapes(module):
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


class Models(TestCase):
    def test_mlp_module(self):
        model, inputs = MLPModule("cpu"), torch.rand(3, 10)
        names = {"net1.weight": (16, 10), "net1.bias": (16,), "net2.weight": (10, 16), "net2.bias": (10,)}
        self.assertEqual(names, shapes(model))
        self.assertEqual(model(inputs), model.net2(model.net1(inputs).relu()))
        self.assertEqual(model.state_dict(), MLPModule("cpu").state_dict())
        self.assertEqual(["net1.weight", "net2.weight"], list(shapes(MLPModule("cpu", bias=False))))
        model.reset_parameters()
        self.assertNotEqual(model.net1.weight, MLPModule("cpu").net1.weight)

    def test_mlp_stacked(self):
        model, inputs = MLPStacked("cpu", n_layers=3), torch.rand(3, 10)
        self.assertEqual(3, len(model.layers))
        self.assertEqual(2, len(MLPStacked("cpu").layers))
        self.assertEqual(model(inputs), model.layers[2](model.layers[1](model.layers[0](inputs))))

    def test_rms_norm(self):
        model, inputs = RMSNormPython(4), torch.rand(3, 4)
        self.assertEqual(model(inputs), torch.nn.functional.rms_norm(inputs, (4,), eps=1e-6))
        torch.nn.init.constant_(model.weight, 2)
        self.assertEqual(model(inputs), 2 * torch.nn.functional.rms_norm(inputs, (4,), eps=1e-6))
        self.assertEqual(0.5, RMSNormPython(1, eps=3.0)(torch.ones(1)).item())

    def test_block(self):
        block = TransformerBlock(ModelArgs(dropout_p=0.0))
        self.assertEqual({**BLOCK, **FEED_FORWARD}, shapes(block))
        inputs = torch.rand(2, 5, 16)
        output = block(inputs)
        changed = inputs.clone()
        changed[:, 3:] += 1
        self.assertEqual(block(changed)[:, :3], output[:, :3])  # no token sees those after it
        self.assertNotEqual(block(changed)[:, 3:], output[:, 3:])
        for layer in (block.attention.wo, block.feed_forward.w2):  # then nothing is added to what came in
            torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(block.feed_forward.w2.bias)
        self.assertEqual(block(inputs), inputs)

    def test_block_of_experts(self):
        block = TransformerBlock(ModelArgs(num_experts=3, dropout_p=0.0))
        experts = {"expert_layer.experts.w1": (3, 64, 16), "expert_layer.experts.w2": (3, 16, 64)}
        self.assertEqual({**BLOCK, **experts}, shapes(block))
        inputs = torch.rand(2, 5, 16)
        first, second = block.expert_layer.experts.w1, block.expert_layer.experts.w2
        each = [torch.nn.functional.gelu(inputs @ first[i].T) @ second[i].T for i in range(3)]
        self.assertEqual(block.expert_layer(inputs), sum(each) / 3)

    def test_transformer(self):
        model = Transformer(ModelArgs(dropout_p=0.0))
        self.assertIs(model.output.weight, model.tok_embeddings.weight)
        self.assertEqual(((8, 16), (16, 16)), (model.tok_embeddings.weight.shape, model.pos_embeddings.weight.shape))
        self.assertEqual((2, 5, 8), model(torch.randint(8, (2, 5))).shape)
        with self.assertRaisesRegex(ValueError, "17 tokens are more than 16"):
            model(torch.zeros(1, 17, dtype=torch.long))
        with self.assertRaisesRegex(ValueError, "16 features cannot be shared out among 3 heads"):
            Transformer(ModelArgs(n_heads=3))
        self.assertIsNot(*(getattr(Transformer(ModelArgs(weight_tying=False)), n) for n in ("output", "norm")))

    def test_checkpointed_activations_change_no_gradient(self):
        tokens = torch.randint(8, (2, 5))
        gradients = []
        for checkpointed in (False, True):
            torch.manual_seed(0)
            model = Transformer(ModelArgs(dropout_p=0.0, checkpoint_activations=checkpointed))
            model(tokens).sum().backward()
            gradients.append([parameter.grad for parameter in model.parameters()])
        self.assertEqual(*gradients)

    def test_wrong_use_of_parallelize(self):
        with self.assertRaisesRegex(TypeError, "a Transformer is wanted"):
            Transformer.parallelize(torch.nn.Linear(1, 1), None, False)
        with self.assertRaisesRegex(ValueError, "needs tp_mesh or ep_mesh"):
            Transformer.parallelize(Transformer(ModelArgs()), None, False)


class OverMeshes(DTensorTestBase):
    def _model(self, **arguments):
        torch.manual_seed(2)
        return Transformer(ModelArgs(n_layers=1, dropout_p=0.0, **arguments)).to(self.device_type)

    def _check(self, model, whole, tokens=None):
        """The split model gives what the whole one gives, and its gradients are as many."""
        if tokens is None:
            torch.manual_seed(4)
            tokens = torch.randint(8, (2, 8), device=self.device_type)
        output = model(tokens)
        self.assertFalse(isinstance(output, DTensor))
        self.assertEqual(output, whole(tokens))
        output.sum().backward()
        whole(tokens).sum().backward()
        for (name, split), (_, parameter) in zip(model.named_parameters(), whole.named_parameters(), strict=True):
            gradient = split.grad.full_tensor() if isinstance(split.grad, DTensor) else split.grad
            self.assertEqual(gradient.shape, parameter.grad.shape, name)

    @with_comms
    def test_over_tensors(self):
        mesh = self.build_device_mesh()
        for by_sequence, local_output in ((False, True), (True, False)):
            model = self._model()
            self.assertIs(model, Transformer.parallelize(model, mesh, by_sequence, local_output))
            self._check(model, self._model())
            self.assertEqual((4, 16), model.layers[0].attention.wq.weight.to_local().shape)
            self.assertIs(model.output.weight, model.tok_embeddings.weight)
            self.assertEqual(1 if local_output else 4, model.layers[0].attention.n_heads)

    @with_comms
    def test_experts_over_tensors(self):
        for by_sequence in (False, True):
            model = self._model(num_experts=2)
            Transformer.parallelize(model, self.build_device_mesh(), by_sequence)
            self.assertEqual((2, 16, 16), model.layers[0].expert_layer.experts.w1.to_local().shape)
            self._check(model, self._model(num_experts=2))

    @with_comms
    def test_experts_shared_out(self):
        """Each rank has tokens of its own, and two of the eight experts."""
        model, whole = self._model(num_experts=8), self._model(num_experts=8)
        Transformer.parallelize(model, None, False, ep_mesh=self.build_device_mesh())
        self.assertEqual((2, 64, 16), model.layers[0].expert_layer.experts.w1.to_local().shape)
        torch.manual_seed(self.rank)
        self._check(model, whole, torch.randint(8, (2, 8), device=self.device_type))

    @with_comms
    def test_experts_shared_out_and_split(self):
        model, whole = self._model(num_experts=4), self._model(num_experts=4)
        mesh = init_device_mesh(self.device_type, (2, 2), mesh_dim_names=("ep", "tp"))
        Transformer.parallelize(model, mesh["tp"], False, ep_mesh=mesh["ep"])
        self.assertEqual((2, 32, 16), model.layers[0].expert_layer.experts.w1.to_local().shape)
        torch.manual_seed(mesh["ep"].get_local_rank())
        self._check(model, whole, torch.randint(8, (2, 8), device=self.device_type))
        self.assertTrue(dist.is_initialized())


class Import(TestCase):
    def test_dtensor_is_not_imported_for_them(self):
        """Half a second that most tests do not need."""
        code = "import sys, torch_testing_shim.distributed._tensor.common_dtensor as m; m.Transformer(m.ModelArgs());"
        code += "print([n for n in ('torch.distributed.tensor', 'torch._dynamo') if n in sys.modules])"
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        self.assertEqual("[]\n", printed.stdout, printed.stderr)


if __name__ == "__main__":
    run_tests()
