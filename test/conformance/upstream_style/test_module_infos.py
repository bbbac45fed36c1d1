"""ModuleInfo: modules over torch's list of modules, with train and eval, error inputs, gradients and factory kwargs."""

import pickle
import tempfile
from inspect import signature
from unittest import mock

import torch
from torch.testing._internal.common_device_type import (
    expectedFailureMPS,
    instantiate_device_type_tests,
    onlyCUDA,
    skipCUDAVersionIn,
    skipMPS,
    tol,
    toleranceOverride,
)
from torch.testing._internal.common_modules import (
    FunctionInput,
    ModuleErrorEnum,
    ModuleInfo,
    ModuleInput,
    TrainEvalMode,
    get_module_common_name,
    module_db,
    modules,
)
from torch.testing._internal.common_nn import NNTestCase, _create_basic_net
from torch.testing._internal.common_utils import (
    TestCase,
    freeze_rng_state,
    get_tensors_from,
    gradcheck,
    gradgradcheck,
    mock_wrapper,
    parametrize,
    run_tests,
    skipIfTorchDynamo,
    wrapSwapTensorsTest,
)

CHOSEN = [info for info in module_db if info.name in ("nn.Linear", "nn.GRUCell", "nn.L1Loss", "nn.Dropout", "nn.PReLU")]
WITH_FACTORY = [info for info in CHOSEN if "device" in signature(info.module_cls).parameters]
WITH_ERRORS = [info for info in module_db if info.module_error_inputs_func is not None][:4]


class Twice(torch.nn.Module):
    def __init__(self, device=None, dtype=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1,), 2.0, device=device, dtype=dtype))

    def forward(self, x):
        return self.weight * x


def inputs_of_twice(module_info, device, dtype, requires_grad, training, **kwargs):
    x = torch.ones(2, device=device, dtype=dtype, requires_grad=requires_grad)
    reference = lambda module, parameters, given: given * 2  # noqa: E731
    return [ModuleInput(FunctionInput(), FunctionInput(x), reference_fn=reference)]


OWN = [ModuleInfo(Twice, module_inputs_func=inputs_of_twice, train_and_eval_differ=True)]


class TestModules(TestCase):
    _do_cuda_memory_leak_check = True
    _do_cuda_non_default_stream = True
    precision = 1e-5
    rel_tol = 1e-5

    def made(self, module_info, device, dtype, training, requires_grad=False):
        for given in module_info.module_inputs_func(
            module_info, device=device, dtype=dtype, requires_grad=requires_grad, training=training
        ):
            if given.forward_input is None:
                continue
            args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
            module = module_info.module_cls(*args, **kwargs).to(device).to(dtype)
            module.train(training)
            yield module, given

    @modules(CHOSEN, allowed_dtypes=(torch.float32,))
    def test_forward(self, device, dtype, module_info, training):
        for module, given in self.made(module_info, device, dtype, training):
            with freeze_rng_state():
                outputs = module(*given.forward_input.args, **given.forward_input.kwargs)
            with freeze_rng_state():
                again = module(*given.forward_input.args, **given.forward_input.kwargs)
            self.assertEqual(outputs, again)

    @modules(OWN, train_eval_mode=TrainEvalMode.train_and_eval)
    def test_own(self, device, dtype, module_info, training):
        self.assertEqual(get_module_common_name(module_info.module_cls), "Twice")
        for module, given in self.made(module_info, device, dtype, training):
            self.assertEqual(module.training, training)
            self.assertEqual(module(*given.forward_input.args), torch.full((2,), 2.0, dtype=dtype))

    @modules(CHOSEN, train_eval_mode=TrainEvalMode.train_only, allowed_dtypes=(torch.float64,))
    def test_gradients(self, device, dtype, module_info, training):
        if module_info.name in ("nn.Dropout", "nn.GRUCell"):
            self.skipTest("draws, or is slow")
        for module, given in list(self.made(module_info, device, dtype, training, requires_grad=True))[:1]:
            inputs = tuple(get_tensors_from(given.forward_input.args, given.forward_input.kwargs))
            self.assertTrue(gradcheck(module, inputs, fast_mode=True))
            self.assertTrue(gradgradcheck(module, inputs, check_batched_grad=False))

    @toleranceOverride({torch.float32: tol(5e-2, 0)})
    @modules(CHOSEN, train_eval_mode=TrainEvalMode.eval_only, allowed_dtypes=(torch.float32, torch.float64))
    def test_pickled(self, device, dtype, module_info, training):
        for module, given in self.made(module_info, device, dtype, training):
            args, kwargs = given.forward_input.args, given.forward_input.kwargs
            with tempfile.TemporaryFile() as stream:
                torch.save(module, stream)
                stream.seek(0)
                copied = torch.load(stream, weights_only=False)
            self.assertEqual(copied(*args, **kwargs), module(*args, **kwargs))
            self.assertEqual(type(pickle.loads(pickle.dumps(module))), type(module))

    @modules(WITH_ERRORS, allowed_dtypes=(torch.float32,))
    @expectedFailureMPS
    def test_errors(self, device, dtype, module_info, training):
        for error_input in module_info.module_error_inputs_func(
            module_info, device=device, dtype=dtype, requires_grad=False, training=training
        ):
            given = error_input.module_error_input
            args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
            if error_input.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
                with self.assertRaisesRegex(error_input.error_type, error_input.error_regex):
                    module_info.module_cls(*args, **kwargs)
            else:
                module = module_info.module_cls(*args, **kwargs)
                with self.assertRaisesRegex(error_input.error_type, error_input.error_regex):
                    module(*given.forward_input.args, **given.forward_input.kwargs)

    @skipIfTorchDynamo("mocks")
    @modules(WITH_FACTORY, allowed_dtypes=(torch.float32,))
    def test_factory_kwargs(self, device, dtype, module_info, training):
        register = mock_wrapper(torch.nn.Module.register_parameter)
        with mock.patch.object(torch.nn.Module, "register_parameter", register):
            for module, _ in self.made(module_info, device, dtype, training):
                self.assertTrue(all(parameter.dtype is dtype for parameter in module.parameters()))
        self.assertTrue(register.mock.called)

    @onlyCUDA
    @modules(CHOSEN)
    def test_on_cuda(self, device, dtype, module_info, training):
        self.fail("must not run on the CPU")

    @skipMPS
    @skipCUDAVersionIn([(11, 7)])
    @parametrize("swap", [True, False])
    @wrapSwapTensorsTest()
    @modules(CHOSEN[:1], allowed_dtypes=(torch.float32,))
    def test_to(self, device, dtype, module_info, training, swap):
        torch.__future__.set_swap_module_params_on_conversion(swap)
        for module, _ in self.made(module_info, device, dtype, training):
            before = list(module.parameters())
            module.double()
            self.assertTrue(all(p.dtype is torch.float64 for p in before))

    @modules(OWN)
    def test_wrong(self, device, dtype, module_info, training):
        self.assertTrue(training)


class TestNets(NNTestCase):
    """What torch's own tests of modules are built on: a subclass says how a module is run."""

    def _forward(self, module, input):
        return module(input)

    def _backward(self, module, input, output, grad_output, create_graph=False):
        output.backward(grad_output, retain_graph=True, create_graph=create_graph)
        return None if input.grad is None else input.grad.data

    def _get_parameters(self, module):
        parameters = list(module.parameters())
        return parameters, [parameter.grad for parameter in parameters]

    def _zero_grad_parameters(self, module):
        module.zero_grad(set_to_none=False)

    def test_basic_net(self):
        layer, net, whole = _create_basic_net()
        self.assertEqual(type(layer).__name__, type(net.l1).__name__)
        self.assertIs(whole[0], net)

    def test_flat_tensors(self):
        self.assertEqual(self._flatten_tensors([torch.ones(2), torch.zeros(1, 1)])[1], torch.zeros(1))

    def test_jacobian(self):
        analytical = self._analytical_jacobian(torch.nn.ReLU(), torch.ones(1, 2, requires_grad=True), True, False)
        self.assertEqual(analytical[0], torch.eye(2))

    def test_jacobian_is_wrong(self):
        analytical = self._analytical_jacobian(torch.nn.ReLU(), torch.ones(1, 2, requires_grad=True), True, False)
        self.assertEqual(analytical[0], torch.zeros(2, 2))


instantiate_device_type_tests(TestModules, globals(), allow_mps=True)

if __name__ == "__main__":
    run_tests()
