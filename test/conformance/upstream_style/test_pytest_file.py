"""A file written for pytest: functions, fixtures, parameters and marks beside classes of ranks, and no main part."""

import os
import signal

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


@pytest.fixture(scope="class")
def number():
    return 2


@pytest.fixture
def cannot_begin():
    raise RuntimeError("no fixture")


@pytest.fixture
def cannot_end():
    yield
    raise RuntimeError("no end")


@pytest.mark.parametrize("factor", [0.5, 1.5])
@pytest.mark.parametrize("dtype", [torch.float32, "a::b"])
def test_parameters(factor, dtype, number):
    assert factor * number in (1, 3)


def test_wrong(number):
    assert number == 3


def test_is_left_out():
    pytest.skip("not here")


@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    raise ValueError("known")


@pytest.mark.xfail(reason="known", strict=True)
def test_passes_unexpectedly():
    pass


def test_cannot_begin(cannot_begin):
    pass


def test_cannot_end(cannot_end):
    pass


class TestPlain:
    def test_fixture(self, number):
        assert number == 2


class Subtests(TestCase):
    def test_one_fails(self):
        for number in range(2):
            with self.subTest(number=number):
                self.assertEqual(number, 0)


class Ranks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    def test_passes(self):
        assert 0 <= self.rank < 2

    def test_wrong_on_one(self):
        assert self.rank == 0

    def test_other_rank_is_killed(self):
        if self.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Comms(DTensorTestBase):
    world_size = 2

    @with_comms
    @pytest.mark.skipif("sys.platform == 'no such'", reason="a mark below the decorator")
    def test_sum(self):
        ones = torch.ones(1, device=self.device_type)
        dist.all_reduce(ones)
        assert ones.item() == 2
