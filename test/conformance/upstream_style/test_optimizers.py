"""OptimizerInfo: optims over torch's list of optimizers, with their inputs, error inputs, schedulers and skips."""

import functools
import unittest
from copy import deepcopy

import torch
from torch.optim import SGD, Adam, Optimizer
from torch.testing._internal.common_device_type import instantiate_device_type_tests, onlyCPU, skipMPS, tol
from torch.testing._internal.common_optimizers import (
    OptimizerErrorEnum,
    OptimizerInfo,
    OptimizerInput,
    TensorTracker,
    _get_optim_inputs_including_global_cliquey_kwargs,
    optim_db,
    optims,
)
from torch.testing._internal.common_utils import (
    TestCase,
    markDynamoStrictTest,
    parametrize,
    run_tests,
    skipIfTorchDynamo,
)
from torch.testing._internal.opinfo.core import DecorateInfo

CHOSEN = [info for info in optim_db if info.optim_cls.__name__ in ("Adam", "SGD", "RMSprop", "Adafactor", "LBFGS")]


class Halving(Optimizer):
    """An optimizer of a test file's own, with an OptimizerInfo of its own."""

    def __init__(self, params, factor=0.5):
        super().__init__(params, {"factor": factor})

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(group["factor"])
        return loss


def halving_inputs(device, dtype=None):
    return [OptimizerInput(None, {}, "default"), OptimizerInput(None, {"factor": 0.25}, "quarter")]


OWN = [
    OptimizerInfo(
        Halving,
        optim_inputs_func=halving_inputs,
        optim_error_inputs_func=lambda device, dtype: [],
        supported_impls=(),
        skips=(
            DecorateInfo(unittest.skip("not for this one"), "TestOwn", "test_skipped"),
            DecorateInfo(unittest.expectedFailure, "TestOwn", "test_fails_as_expected"),
        ),
    )
]


@markDynamoStrictTest
class TestOptimizers(TestCase):
    @onlyCPU
    @optims(CHOSEN, dtypes=[torch.float32])
    def test_steps(self, device, dtype, optim_info):
        weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0]], device=device, dtype=dtype))
        for optim_input in _get_optim_inputs_including_global_cliquey_kwargs(
            device, dtype, optim_info, skip=("differentiable",)
        ):
            parameter = torch.nn.Parameter(weight.detach().clone())
            optimizer = optim_info.optim_cls([parameter], **optim_input.kwargs)
            with self.subTest(desc=optim_input.desc):
                for _ in range(2):

                    def closure(parameter=parameter, optimizer=optimizer):
                        optimizer.zero_grad()
                        loss = (parameter**2).sum()
                        loss.backward()
                        return loss

                    optimizer.step(closure)
                self.assertTrue(torch.isfinite(parameter).all())

    @optims(CHOSEN, dtypes=[torch.float32])
    def test_errors(self, device, dtype, optim_info):
        for error_input in optim_info.optim_error_inputs_func(device=device, dtype=dtype):
            given, params = error_input.optimizer_error_input, error_input.optimizer_error_input.params
            if error_input.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR:
                if issubclass(error_input.error_type, Warning):
                    with self.assertWarnsRegex(error_input.error_type, error_input.error_regex):
                        optim_info.optim_cls(params, **given.kwargs)
                    continue
                with self.assertRaisesRegex(error_input.error_type, error_input.error_regex):
                    optim_info.optim_cls(params, **given.kwargs)

    @optims([info for info in CHOSEN if info.optim_cls in (Adam, SGD)], dtypes=[torch.float32, torch.float64])
    def test_state_dict(self, device, dtype, optim_info):
        parameter = torch.nn.Parameter(torch.ones(2, device=device, dtype=dtype))
        optimizer = optim_info.optim_cls([parameter], lr=0.1)
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        other = optim_info.optim_cls([torch.nn.Parameter(torch.ones(2, device=device, dtype=dtype))], lr=0.1)
        other.load_state_dict(deepcopy(optimizer.state_dict()))
        self.assertEqual(other.state_dict(), optimizer.state_dict())

    @skipMPS
    @skipIfTorchDynamo("has hooks")
    @optims([info for info in CHOSEN if info.optim_cls is SGD], dtypes=[torch.float32])
    def test_schedulers(self, device, dtype, optim_info):
        for make in optim_info.scheduler_inputs or [[functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1)]]:
            optimizer = optim_info.optim_cls([torch.nn.Parameter(torch.ones(1))], lr=1.0)
            schedulers = [each(optimizer) for each in make]
            optimizer.step()
            for scheduler in schedulers:
                plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
                scheduler.step(*([1.0] if plateau else []))

    @parametrize("foreach", [False, True])
    @optims([info for info in CHOSEN if "foreach" in info.supported_impls][:2], dtypes=[torch.float32])
    def test_implementations(self, device, dtype, optim_info, foreach):
        tracker = TensorTracker(assert_eq_kwargs={"rtol": 1e-5, "atol": 1e-6})
        for implementation in (False, foreach):
            parameter = torch.nn.Parameter(torch.arange(3, device=device, dtype=dtype))
            optimizer = optim_info.optim_cls([parameter], lr=0.1, foreach=implementation)
            parameter.grad = torch.ones_like(parameter)
            optimizer.step()
            if implementation is False and tracker.all_popped():
                tracker.add(parameter)
            else:
                tracker.pop_check_set(parameter, self)
        self.assertTrue(tracker.all_popped() or not foreach)

    @optims([info for info in CHOSEN if info.optim_cls is SGD], dtypes=[torch.float32])
    def test_wrong(self, device, dtype, optim_info):
        parameter = torch.nn.Parameter(torch.ones(1, device=device))
        parameter.grad = torch.ones_like(parameter)
        optim_info.optim_cls([parameter], lr=0.1).step()
        self.assertEqual(parameter, torch.ones(1))


class TestOwn(TestCase):
    @optims(OWN)
    def test_steps(self, device, dtype, optim_info):
        for given in optim_info.optim_inputs_func(device=device):
            parameter = torch.nn.Parameter(torch.ones(1, device=device, dtype=dtype))
            optim_info.optim_cls([parameter], **given.kwargs).step()
            self.assertLess(parameter.item(), 1)

    @optims(OWN)
    def test_skipped(self, device, dtype, optim_info):
        self.fail("is skipped")

    @optims(OWN)
    def test_fails_as_expected(self, device, dtype, optim_info):
        self.fail("as expected")

    def test_tolerances(self, device):
        self.assertEqual(tol(atol=1, rtol=2).rtol, 2)


instantiate_device_type_tests(TestOptimizers, globals(), allow_mps=True)
instantiate_device_type_tests(TestOwn, globals(), only_for=("cpu",))

if __name__ == "__main__":
    run_tests()
