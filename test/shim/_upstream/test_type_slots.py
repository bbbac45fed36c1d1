"""Special methods of types that are written in C, replaced. Each test does it in an interpreter of its own."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

PROGRAM = """
import torch
from torch_testing_shim._upstream.type_slots import made_by_type, replace_methods
make, equal, hashed = made_by_type(torch.device), torch.device.__eq__, torch.device.__hash__
held = torch.device("cpu")

def new(cls, *args):
    if args == ("mine",):
        args = ("meta", 3)
    return make(cls, args, {})

replace_methods(torch.device, {"__new__": new})
print(torch.device("mine"), type(torch.device("mine")) is torch.device, torch.device("cpu") == held)
try:
    torch.device("nothing")
except RuntimeError as error:
    print(str(error)[:15])
replace_methods(torch.device, {
    "__eq__": lambda one, other: one.type == getattr(other, "type", None) or equal(one, other),
    "__ne__": lambda one, other: not one == other,
    "__hash__": lambda one: hash(one.type),
})
other = torch.device("cpu:1")
print(other == held, other != held, {other: 1}[held], held == 1, held == "cpu")
print(torch.ones(1, device=torch.device("mine")).device)
"""


class TypeSlots(SampleTestCase):
    def test_methods_of_a_type(self):
        path = self.folder / "program.py"
        path.write_text(PROGRAM)
        run = self.run_command(str(path))
        self.assertEqual(0, run.exit_code, run.output)
        expected = ["meta:3 True True", "Expected one of", "True False 1 False False", "meta"]
        self.assertEqual(expected, run.output.strip().splitlines()[-4:])


if __name__ == "__main__":
    run_tests()
