"""ops over DTensor: operators of torch's own database, on threads, each against the plain tensor."""

import threading

import torch
from torch.distributed.tensor import DTensor
from torch.testing._internal.common_device_type import OpDTypes, instantiate_device_type_tests, ops, skipOps, xfail
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_utils import run_tests, suppress_warnings
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorConverter, DTensorOpTestBase

NAMES = ("add", "mul", "sum", "nn.functional.relu", "unique")
OPERATORS = [op for op in op_db if op.name in NAMES and not op.variant_test_name]
DRAWING = threading.Lock()
EXPECTED_TO_FAIL = {xfail("unique")}


class TestOperators(DTensorOpTestBase):
    @property
    def world_size(self):
        return 2

    def check(self, op, dtype):
        with DRAWING:  # the threads share one generator
            torch.manual_seed(0)
            sample = next(iter(op.sample_inputs("cpu", dtype)))
        converter = DTensorConverter(self.build_device_mesh(), (sample.input, *sample.args), sample.kwargs)
        expected = op(sample.input, *sample.args, **sample.kwargs)
        tried = 0
        for args, kwargs in converter:
            if converter.successful():
                found = op(*args, **kwargs)
                self.assertEqual(found.full_tensor() if isinstance(found, DTensor) else found, expected)
                tried += 1
        self.assertGreater(tried, 0)

    @suppress_warnings
    @ops(OPERATORS, allowed_dtypes=(torch.float32,))
    @skipOps(EXPECTED_TO_FAIL)
    def test_every_sharding(self, dtype, op):
        self.check(op, dtype)

    @ops(OPERATORS[:2], dtypes=OpDTypes.any_one)
    def test_wrong_result(self, dtype, op):
        self.assertEqual(op.name, "add")


instantiate_device_type_tests(TestOperators, globals(), only_for=("cpu",))

if __name__ == "__main__":
    run_tests()
