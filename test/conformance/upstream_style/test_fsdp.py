"""FSDPTest: the process group stands before a test begins; a model is wrapped and trained; a patched all-gather."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.testing._internal.common_distributed import skip_if_lt_x_gpu
from torch.testing._internal.common_fsdp import FSDPTest, patch_all_gather
from torch.testing._internal.common_utils import instantiate_parametrized_tests, parametrize, run_tests


class FSDPSampleTest(FSDPTest):
    @property
    def world_size(self):
        return 2

    def test_group(self):
        self.assertTrue(dist.is_initialized())
        self.assertEqual(self.process_group.size(), 2)

    @skip_if_lt_x_gpu(2)
    def test_on_gpus(self):
        self.fail("must not run without GPUs")

    @parametrize("bias", [True, False])
    def test_wrapped_model(self, bias):
        torch.manual_seed(0)
        model = nn.Linear(4, 2, bias=bias)
        inputs = torch.ones(3, 4)
        wrapped = FSDP(nn.Sequential(model), device_id=torch.device("cpu"))
        loss = wrapped(inputs).sum()
        loss.backward()
        self.assertGreater(sum(p.grad.numel() for p in wrapped.parameters() if p.grad is not None), 0)

    def test_subtests(self):
        self.run_subtests({"scale": [1, 2]}, self._test_scaled)

    def _test_scaled(self, scale):
        total = torch.full((1,), float(scale))
        dist.all_reduce(total)
        self.assertEqual(total.item(), 2 * scale)

    def test_patched_all_gather(self):
        calls = []
        original = dist.all_gather_single

        def counting(*args, **kwargs):
            calls.append(1)
            return original(*args, **kwargs)

        with patch_all_gather(counting):
            dist.all_gather_single(torch.empty(2), torch.ones(1))
        dist.all_gather_single(torch.empty(2), torch.ones(1))
        self.assertEqual(len(calls), 1)

    def test_fails_on_one_rank(self):
        self.assertNotEqual(self.rank, 1)


instantiate_parametrized_tests(FSDPSampleTest)

if __name__ == "__main__":
    run_tests()
