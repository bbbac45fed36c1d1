"""The warm-up before ranks are forked leaves nothing that a test could see. Huge pages come once many ranks have been
forked."""

import os
import random
from unittest import mock

import numpy
import torch

from torch_testing_shim._engine import zygote_main
from torch_testing_shim._engine.threads import thread_count
from torch_testing_shim._engine.zygote_main import before_each_fork, warm_up
from torch_testing_shim.common_utils import TestCase, run_tests


def state():
    """State that a warm-up could change."""
    return {
        "torch": torch.random.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": str(numpy.random.get_state()),
        "threads": thread_count(),
        "descriptors": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "defaults": (torch.get_default_dtype(), torch.empty(0).device, torch.is_grad_enabled()),
    }


class WarmUpTest(TestCase):
    def test_it_leaves_nothing(self):
        warm_up()  # what it fills for good is filled now
        before = state()
        warm_up()
        self.assertEqual(before, state())

    def test_it_compares_on_the_cpu_whatever_is_the_default(self):
        self.addCleanup(torch.set_default_device, None)
        self.addCleanup(torch.set_default_dtype, torch.get_default_dtype())
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        with mock.patch.object(zygote_main, "differences", wraps=zygote_main.differences) as compared:
            warm_up()
        (actual, expected, _), _ = compared.call_args
        for tensor in (actual, expected):
            self.assertEqual(("cpu", torch.float32), (tensor.device.type, tensor.dtype))
        self.assertTrue(torch.equal(actual, expected))

    def test_what_a_module_has_put_in_torchs_place_stops_nobody(self):
        def broken(*args, **kwargs):
            raise RuntimeError("the module's own")

        for name in ("ones", "full", "isclose"):
            with self.subTest(name), mock.patch.object(torch, name, broken):
                warm_up()


class HugePagesTest(TestCase):
    def test_they_are_collected_once_when_many_ranks_have_been_forked(self):
        forked = []  # for each rank, whether the pages were collected when it was forked
        with mock.patch.object(zygote_main, "use_huge_pages", side_effect=OSError) as collect:
            prepare = before_each_fork(lambda job: self.assertEqual("a job", job))
            for _ in range(40):
                prepare("a job")
                forked.append(collect.call_count)
        self.assertEqual([0] * 16 + [1] * 24, forked)


if __name__ == "__main__":
    run_tests()
