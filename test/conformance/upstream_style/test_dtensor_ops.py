"""DTensorOpTestBase and DTensorConverter: an operator in every sharding, on threads."""

import torch
from torch.distributed.tensor import DTensor
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorConverter, DTensorOpTestBase


class OpTest(DTensorOpTestBase):
    @property
    def world_size(self):
        return 2

    def check(self, op, *args):
        converter = DTensorConverter(self.build_device_mesh(), args, {})
        expected, count = op(*args), 0
        for d_args, d_kwargs in converter:
            self.assertTrue(converter.successful())
            found = op(*d_args, **d_kwargs)
            self.assertIsInstance(found, DTensor)
            self.assertEqual(found.full_tensor(), expected)
            count += 1
        return count

    @parametrize("op", [torch.add, torch.mul], name_fn=lambda op: op.__name__)
    def test_pointwise(self, op):
        self.assertEqual(self.check(op, torch.ones(2, 2), torch.full((2, 2), 3.0)), 9)

    def test_sum(self):
        self.assertEqual(self.check(torch.sum, torch.arange(6.0).reshape(2, 3)), 2)

    def test_wrong_operator(self):
        self.check(lambda tensor: tensor + tensor.numel() if isinstance(tensor, DTensor) else tensor, torch.ones(2))


instantiate_parametrized_tests(OpTest)

if __name__ == "__main__":
    run_tests()
