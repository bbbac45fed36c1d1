"""Tests on several ranks: each test starts fresh processes, and its body runs in each of them."""

import torch
from gradient_average import average_gradients

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks


class Average(DTensorTestBase):
    world_size = 2

    def model(self):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)).to(self.device_type)

    def gradients(self, model, *ranks):
        """What a model's gradients are after a step on the batches of these ranks."""
        for rank in ranks:
            torch.manual_seed(1 + rank)
            (model(torch.rand(3, 4, device=self.device_type)).sum() / len(ranks)).backward()
        return [parameter.grad for parameter in model.parameters()]

    @with_comms
    @parametrize("bucket_size", [1, 40, 1 << 20])
    def test_each_rank_has_the_average(self, bucket_size):
        model = self.model()
        self.gradients(model, self.rank)
        average_gradients(model, bucket_size)
        expected = self.gradients(self.model(), *range(self.world_size))
        with agreed_between_ranks():  # where one rank is wrong, the report starts with it
            self.assertEqual(expected, [parameter.grad for parameter in model.parameters()])

    @with_comms
    def test_small_gradients_travel_together(self):
        model = self.model()
        self.gradients(model, self.rank)
        self.assertEqual(1, average_gradients(model))

    @with_comms
    def test_parameters_without_a_gradient_are_left_alone(self):
        model = self.model()
        self.gradients(model, self.rank)
        model[0].bias.grad = None
        average_gradients(model)
        self.assertIsNone(model[0].bias.grad)


instantiate_parametrized_tests(Average)
if __name__ == "__main__":
    run_tests()
