"""pytest around the harness: fixtures that its classes use, device parameters, generated tests, and monkeypatch."""

import logging
import unittest

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal import common_utils
from torch.testing._internal.common_device_type import dtypes, instantiate_device_type_tests
from torch.testing._internal.common_distributed import MultiProcessTestCase, MultiThreadedTestCase
from torch.testing._internal.common_fsdp import MLP
from torch.testing._internal.common_optimizers import optim_db, optims
from torch.testing._internal.common_utils import (
    TEST_CUDA,
    TestCase,
    instantiate_parametrized_tests,
    parametrize,
    set_rng_seed,
)
from torch.testing._internal.two_tensor import TwoTensor

SET_UP = []
devices = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not TEST_CUDA, reason="needs CUDA"))]


@pytest.fixture(scope="module", autouse=True)
def whole_module():
    SET_UP.append("module")
    yield
    SET_UP.clear()


@pytest.fixture(autouse=True)
def seeded():
    set_rng_seed(42)
    yield


@pytest.fixture(params=devices)
def device(request):
    return torch.device(request.param)


@pytest.fixture
def model(device):
    return MLP(4, device=device)


def test_model(model, device):
    assert model(torch.ones(1, 4, device=device)).device.type == device.type


def test_seed_is_the_fixtures():
    first = torch.rand(2)
    torch.manual_seed(42)
    torch.testing.assert_close(torch.rand(2), first)


def test_module_fixture():
    assert SET_UP == ["module"]


def test_patched(monkeypatch, tmp_path):
    monkeypatch.setattr(common_utils, "IS_WINDOWS", True)
    monkeypatch.setenv("UPSTREAM_STYLE_VARIABLE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    torch.save(torch.ones(1), "saved")
    assert common_utils.IS_WINDOWS and (tmp_path / "saved").exists()


def test_patch_is_undone():
    assert not common_utils.IS_WINDOWS


def test_raises():
    with pytest.raises(RuntimeError, match="must match"):
        torch.ones(2) + torch.ones(3)
    with pytest.warns(UserWarning):
        import warnings

        warnings.warn("so", UserWarning, stacklevel=1)


def test_captured(capsys, caplog):
    print("printed")
    with caplog.at_level(logging.INFO):
        logging.getLogger("upstream_style").info("logged")
    assert capsys.readouterr().out == "printed\n"
    assert caplog.messages == ["logged"]


def test_library():
    pytest.importorskip("no_such_library")


@pytest.mark.parametrize("a, b", [(1, 1), pytest.param(1, 2, marks=pytest.mark.xfail, id="differ")])
def test_pairs(a, b):
    assert TwoTensor(torch.tensor(a), torch.tensor(b)).a == b


def test_wrong_model(model):
    assert model(torch.ones(1, 4)).shape == (2, 2)


class TestPlainClass:
    def setup_method(self):
        self.value = 3

    @pytest.mark.parametrize("add", [0, 1])
    def test_value(self, add):
        assert self.value + add in (3, 4)


@pytest.fixture(scope="class")
def given_to_the_class(request):
    request.cls.given = "by a fixture"


@pytest.mark.usefixtures("given_to_the_class")
class TestWithFixture(TestCase):
    def test_given(self):
        self.assertEqual(self.given, "by a fixture")

    @pytest.fixture(autouse=True)
    def own(self, tmp_path):
        self.path = tmp_path

    def test_own_fixture(self):
        self.assertTrue(self.path.is_dir())

    @parametrize("number", [1, 2])
    def test_numbers(self, number):
        self.assertEqual(number, 1)

    @unittest.expectedFailure
    def test_expected_failure(self):
        self.fail("so")

    def test_skips_by_pytest(self):
        pytest.skip("by pytest")


class TestGenerated(TestCase):
    @dtypes(torch.float32, torch.int64)
    def test_dtypes(self, device, dtype):
        self.assertEqual(torch.ones(1, dtype=dtype, device=device).dtype, dtype)

    @optims([info for info in optim_db if info.optim_cls is torch.optim.SGD])
    def test_optimizer(self, device, dtype, optim_info):
        parameter = torch.nn.Parameter(torch.ones(1, dtype=dtype))
        parameter.grad = torch.ones_like(parameter)
        optim_info.optim_cls([parameter], lr=1.0).step()
        self.assertEqual(parameter.item(), 0)


class TestThreads(MultiThreadedTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_threads()

    def test_sum(self):
        tensor = torch.ones(1)
        dist.all_reduce(tensor)
        self.assertEqual(tensor.item(), 2)


@pytest.mark.usefixtures("given_to_the_class")
class TestRanks(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    @pytest.mark.xfail(reason="known")
    def test_fails_in_ranks(self):
        self.assertEqual(self.rank, 0)

    def test_in_ranks(self):
        store = dist.FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
        dist.barrier()
        dist.destroy_process_group()


instantiate_parametrized_tests(TestWithFixture)
instantiate_device_type_tests(TestGenerated, globals(), only_for="cpu")
