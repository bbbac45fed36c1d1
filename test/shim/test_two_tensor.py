"""`two_tensor`: everything is done with both tensors."""

import torch

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.two_tensor import TwoTensor, TwoTensorMode


class Two(TestCase):
    def setUp(self):
        super().setUp()
        self.a, self.b = torch.rand(2, 3), torch.rand(2, 3)
        self.both = TwoTensor(self.a, self.b)

    def assert_two(self, tensor, a, b):
        self.assertIsInstance(tensor, TwoTensor)
        self.assertEqual((tensor.a, tensor.b), (a, b))

    def test_looks_like_one(self):
        self.assertEqual(((2, 3), (3, 1)), (tuple(self.both.shape), self.both.stride()))
        self.assertEqual(
            (torch.float32, "cpu", False), (self.both.dtype, self.both.device.type, self.both.requires_grad)
        )
        self.assertIs(self.a, self.both.get_elem_a())
        self.assertTrue(TwoTensor(self.a, self.b, requires_grad=True).requires_grad)
        self.assertEqual(f"TwoTensor({self.a!r}, {self.b!r})", repr(self.both))

    def test_operators(self):
        self.assert_two(self.both @ self.both.T, self.a @ self.a.T, self.b @ self.b.T)
        self.assert_two(self.both + torch.ones(3), self.a + 1, self.b + 1)
        first, second = self.both.split([1, 2], dim=1)
        self.assert_two(second, self.a[:, 1:], self.b[:, 1:])
        self.assertEqual((2, 1), tuple(first.shape))

    def test_in_place(self):
        expected = (self.a * 2, self.b * 2)
        same = self.both.mul_(2)
        self.assertIs(same, self.both)
        self.assert_two(self.both, *expected)

    def test_view_shares_memory(self):
        self.both.view(6).zero_()
        self.assertEqual(0, self.a.sum() + self.b.sum())

    def test_gradients(self):
        leaf = TwoTensor(self.a, self.b).requires_grad_()
        (leaf * leaf).sum().backward()
        self.assert_two(leaf.grad, 2 * self.a, 2 * self.b)

    def test_taken_apart_and_put_together(self):
        names, context = self.both.__tensor_flatten__()
        inner = {name: getattr(self.both, name) for name in names}
        again = TwoTensor.__tensor_unflatten__(inner, context, self.both.shape, self.both.stride())
        self.assert_two(again, self.a, self.b)

    def test_tensors_that_do_not_agree(self):
        for other, told in (
            (torch.rand(3, 2), "differ in shape"),
            (torch.rand(2, 3).double(), "differ in dtype"),
            (torch.rand(2, 3, device="meta"), "differ in device"),
            (torch.rand(2, 3).requires_grad_(), "differ in requires_grad"),
            (torch.rand(3, 2).T, "lie in their memory in different ways"),
        ):
            with self.assertRaisesRegex(AssertionError, told):
                TwoTensor(self.a, other)

    def test_mode(self):
        with TwoTensorMode():
            made = torch.full((2,), 3.0)
        self.assert_two(made, torch.full((2,), 3.0), torch.full((2,), 3.0))
        self.assertIsNot(made.a, made.b)
        self.assertIs(torch.Tensor, type(torch.ones(2)))


if __name__ == "__main__":
    run_tests()
