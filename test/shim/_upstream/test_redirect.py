"""The finder: what serves which module, for a test file and for torch itself. Each case in an interpreter of its own,
since a finder stays for the life of a process."""

import sys
import textwrap
from pathlib import Path

from torch_testing_shim._upstream.redirect import shim_module_of
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase


class Redirect(SampleTestCase):
    def run_code(self, code):
        path = self.folder / "sample_code.py"
        head = "from torch_testing_shim._upstream.redirect import install\ninstall()\ninstall()\n"
        path.write_text(head + textwrap.dedent(code) + "\nprint('came to its end')\n")
        run = self.run_command(str(path))
        self.assertIn("came to its end", run.output)
        self.assertEqual(0, run.exit_code, run.output)

    def test_modules_and_names(self):
        self.is_cold = True  # these are the first imports
        self.run_code(
            """
            import importlib, sys
            import torch
            import torch.testing._internal.common_utils as whole
            from torch.testing._internal import common_utils as part
            from torch.testing._internal.common_utils import *
            import torch_testing_shim.common_utils as ours

            finders = [type(finder).__module__ for finder in sys.meta_path]
            assert finders.count("torch_testing_shim._upstream.redirect") == 1
            assert whole is part is torch.testing._internal.common_utils
            assert whole.TestCase is ours.TestCase is TestCase
            assert TEST_CUDA is torch.cuda.is_available() and whole.IS_LINUX == ours.IS_LINUX
            assert torch.testing._internal.distributed.checkpoint_utils.with_temp_dir
            stand_in = whole.no_such_name
            assert "no_such_name" in repr(stand_in) and __file__ in repr(stand_in)

            # Only PyTorch has it: its own, built on ours.
            import torch.testing._internal.common_modules as modules
            assert modules is importlib.import_module("torch_testing_shim.common_modules")
            assert modules.TestCase is TestCase and modules.module_db
            from torch.testing._internal.common_utils import TestGradients
            assert issubclass(TestGradients, TestCase) and modules.__file__.endswith("_internal/common_modules.py")

            # Nobody has it, as without the redirect.
            try:
                importlib.import_module("torch.testing._internal.no_such_module")
            except ModuleNotFoundError:
                pass
            else:
                raise AssertionError("a module that is nowhere was found")
            """
        )

    def test_an_assignment_counts_for_all(self):
        self.run_code(
            """
            from unittest import mock
            from torch.testing._internal import common_fsdp
            from torch.testing._internal.common_fsdp import get_devtype
            import torch_testing_shim.common_fsdp

            common_fsdp.DEVICE_TYPE = "meta"
            assert get_devtype().type == "meta" == torch_testing_shim.common_fsdp.DEVICE_TYPE
            assert common_fsdp._maybe_cuda
            del common_fsdp.DEVICE_TYPE
            assert common_fsdp.DEVICE_TYPE == "cpu"

            import torch.testing._internal.common_utils as common_utils
            with mock.patch("torch.testing._internal.common_utils.is_iterable", lambda _: 3):
                assert common_utils.is_iterable([]) == 3
            assert common_utils.is_iterable.__code__.co_filename.endswith("_internal/common_utils.py")

            # A name of torch's that is replaced before anything of it was asked for.
            common_utils.dtype_name = lambda dtype: "replaced"
            from torch.testing._internal.common_device_type import _dtype_test_suffix
            assert _dtype_test_suffix("any") == "_replaced"
            """
        )

    def test_dynamos_test_cases_are_built_on_ours(self):
        self.run_code(
            """
            import torch._dynamo
            from torch.testing._internal.common_utils import TestCase
            import sys

            assert "torch._dynamo.test_case" not in sys.modules
            assert issubclass(torch._dynamo.test_case.TestCase, TestCase)
            assert not hasattr(torch._dynamo, "no_such_name")
            """
        )

    def test_torch_gets_the_same(self):
        self.run_code(
            """
            import torch

            @torch.library.custom_op("sample::double", mutates_args=())
            def double(x: torch.Tensor) -> torch.Tensor:
                return 2 * x

            @double.register_fake
            def _(x):
                return torch.empty_like(x)

            # torch.library imports a part of PyTorch's harness for this.
            results = torch.library.opcheck(double, (torch.ones(2),))
            assert set(results.values()) == {"SUCCESS"}, results
            """
        )


class ShimModules(TestCase):
    def test_names(self):
        upstream = "torch.testing._internal"
        self.assertEqual("torch_testing_shim", shim_module_of(upstream))
        self.assertEqual("torch_testing_shim.common_utils", shim_module_of(f"{upstream}.common_utils"))
        dtensor = "distributed._tensor.common_dtensor"
        self.assertEqual(f"torch_testing_shim.{dtensor}", shim_module_of(f"{upstream}.{dtensor}"))
        self.assertEqual("torch_testing_shim.opinfo.core", shim_module_of(f"{upstream}.opinfo.core"))
        for name in (
            "_shared.settings",
            "_engine.launcher",
            "no_such_module",
            "no.such.module",
            "common_utils.TestCase",
        ):
            with self.subTest(name):
                self.assertIsNone(shim_module_of(f"{upstream}.{name}"))


if __name__ == "__main__":
    run_tests()
