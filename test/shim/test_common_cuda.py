"""`common_cuda`: flags that are asked when a test uses them, and what they answer; accelerators are simulated."""

import subprocess
import sys
from unittest import mock

import torch

from torch_testing_shim import common_cuda
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._skips import flags
from torch_testing_shim._skips.capabilities import LazyFlag
from torch_testing_shim.common_utils import TestCase, run_tests

ATTENTION = [f"PLATFORM_SUPPORTS_{kind}_ATTENTION" for kind in ("FLASH", "MEM_EFF", "CUDNN", "FUSED")]


class Flags(TestCase):
    def setUp(self):
        super().setUp()
        self.patch(mock.patch.dict(vars(common_cuda)))
        for name in ("TEST_CUDA", "TEST_MULTIGPU"):  # a definition of torch's that uses one has bound its answer
            vars(common_cuda).pop(name, None)

    def patch(self, patch):
        patch.start()
        self.addCleanup(patch.stop)

    def machine(self, accelerator=None, count=0, capability=(8, 0), cudnn=90100, has_flash=True):
        """Have torch find these devices until the test ends, and nobody know the answers."""
        device = None if accelerator is None else torch.device(accelerator)
        self.patch(mock.patch.object(torch.accelerator, "current_accelerator", return_value=device))
        self.patch(mock.patch.object(flags, "_accelerators", return_value=count))
        self.patch(mock.patch.multiple(DRIVER, may_start=True, _answers={}))
        self.patch(mock.patch.object(torch.cuda, "get_device_capability", return_value=capability))
        self.patch(mock.patch.object(torch.backends.cudnn, "version", return_value=cudnn))
        self.patch(mock.patch.object(torch.backends.cuda, "is_flash_attention_available", return_value=has_flash))
        for flag in [vars(common_cuda)[name] for name in (*ATTENTION, "SM80OrLater", "SM90OrLater")]:
            self.patch(mock.patch.object(flag, "_answer", None))

    def answers(self):
        return [bool(getattr(common_cuda, name)) for name in ATTENTION]

    def test_no_accelerator(self):
        self.machine()
        self.assertEqual((False, False), (common_cuda.TEST_CUDA, common_cuda.TEST_MULTIGPU))
        self.assertEqual([False] * 4, self.answers())

    def test_cuda(self):
        self.machine("cuda", 2)
        self.assertEqual((True, True), (common_cuda.TEST_CUDA, common_cuda.TEST_MULTIGPU))
        self.assertEqual([True] * 4, self.answers())
        self.assertEqual((True, False), (bool(common_cuda.SM80OrLater), bool(common_cuda.SM90OrLater)))

    def test_one_old_cuda_device(self):
        self.machine("cuda", 1, capability=(7, 5))
        self.assertEqual((True, False), (common_cuda.TEST_CUDA, common_cuda.TEST_MULTIGPU))
        self.assertEqual([False, True, False, True], self.answers())

    def test_only_leased_devices_count_and_sharing_makes_no_more(self):
        found = mock.patch("torch_testing_shim._skips.flags.accelerator_count", return_value=4)
        self.patch(mock.patch.object(torch.accelerator, "current_accelerator", return_value=torch.device("cuda")))
        self.patch(found)
        for leased, has_many in (("", True), ("3,1", True), ("3", False)):
            device = {"TORCH_TESTING_SHIM_DEVICE_INDICES": leased, "TORCH_TESTING_SHIM_SHARE_DEVICES": "1"}
            with mock.patch.dict("os.environ", device):
                self.assertEqual((True, has_many), (common_cuda.TEST_CUDA, common_cuda.TEST_MULTIGPU), leased)

    def test_build_without_flash_attention_and_cudnn(self):
        self.machine("cuda", 1, cudnn=None, has_flash=False)
        self.assertEqual([False, True, False, True], self.answers())

    def test_xpu(self):
        self.machine("xpu", 2)
        self.assertEqual((False, False), (common_cuda.TEST_CUDA, common_cuda.TEST_MULTIGPU))
        self.assertEqual([True, True, False, True], self.answers())

    def test_unknown_name(self):
        with self.assertRaisesRegex(AttributeError, "no attribute 'TEST_CUDNNN'"):
            common_cuda.TEST_CUDNNN  # noqa: B018

    def test_nothing_is_asked_on_import(self):
        code = "import torch; torch.cuda.get_device_capability = torch.accelerator.device_count = None;"
        code += f"from torch_testing_shim.common_cuda import {', '.join(ATTENTION)}, SM80OrLater; print('imported')"
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        self.assertEqual("imported\n", printed.stdout, printed.stderr)


class Lazy(TestCase):
    def test_asked_once_and_late(self):
        ask = mock.Mock(return_value=3)
        flag = LazyFlag(ask)
        ask.assert_not_called()
        self.assertTrue(flag)
        self.assertTrue(flag == True)  # noqa: E712
        self.assertFalse(flag == False)  # noqa: E712
        self.assertEqual("True", repr(flag))
        ask.assert_called_once_with()

    def test_false(self):
        self.assertFalse(LazyFlag(lambda: False))

    def test_no_hash(self):
        with self.assertRaises(TypeError):
            hash(LazyFlag(lambda: True))


if __name__ == "__main__":
    run_tests()
