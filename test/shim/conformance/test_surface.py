"""Every name that PyTorch's own distributed tests import is here, at the same path, with torch 2.13's signature."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import torch_testing_shim
from torch_testing_shim._upstream.surface import Owner, owner_of
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))

from surface_table import SURFACE, signature

PACKAGE = Path(torch_testing_shim.__file__).parent

#: Modules whose import must not bring FSDP or the compiler, and those that may.
HEAVY = ("torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor")
MAY_BE_HEAVY = ("common_fsdp",)


class SurfaceTest(TestCase):
    def test_every_name_is_there(self) -> None:
        missing = []
        for module, names in SURFACE.items():
            face = importlib.import_module(f"torch_testing_shim.{module}")
            missing += [f"{module}.{name}" for name in names if not hasattr(face, name)]
        self.assertEqual([], missing)

    def test_signatures_of_what_is_ours(self) -> None:
        different = {}
        for module, names in SURFACE.items():
            face = importlib.import_module(f"torch_testing_shim.{module}")
            for name, expected in names.items():
                if expected is None or owner_of(f"torch.testing._internal.{module}.{name}") is Owner.TORCHS:
                    continue
                if (found := signature(getattr(face, name))) != expected:
                    different[f"{module}.{name}"] = f"{found} in place of {expected}"
        self.assertEqual({}, different)

    def test_a_wrong_signature_would_be_seen(self) -> None:
        self.assertEqual("(a, *, b=1)", signature(lambda a, *, b=1: None))
        self.assertNotEqual("(a, *, b=2)", signature(lambda a, *, b=1: None))

    def test_a_face_is_cheap_to_import(self) -> None:
        """Test files pay for it in each process that they are imported in."""
        faces = [module for module in SURFACE if (PACKAGE / f"{module.replace('.', '/')}.py").is_file()]
        light = [module for module in faces if module not in MAY_BE_HEAVY]
        self.assertIn("distributed._tensor.common_dtensor", light)
        code = (
            f"import importlib, sys\nfor name in {light}:\n    importlib.import_module('torch_testing_shim.' + name)\n"
        )
        code += f"    print(*(name + ' brings ' + heavy for heavy in {HEAVY} if heavy in sys.modules), end='')\n"
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
        self.assertEqual(("", ""), (printed.stdout, printed.stderr))


if __name__ == "__main__":
    run_tests()
