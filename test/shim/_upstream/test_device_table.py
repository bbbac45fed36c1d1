"""The table of what a mapped run answers names every call of the installed torch that it has to, and people read it."""

import importlib
import inspect
import sys
import types
from pathlib import Path

import torch

from torch_testing_shim._upstream.device_table import TABLE, Way, table_text
from torch_testing_shim._upstream.mapped_devices import found_call
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT, SampleTestCase

NAMED = {f"{row.owner}.{name}" for row in TABLE for name in row.names}
#: Arguments of torch's functions that say where something is to be.
DEVICE_ARGUMENTS = {"device", "device_type", "map_location"}
#: A row's only call, which not every torch has: 2.6, and builds for the CPU.
NEW = {"torch.accelerator.Graph", "torch.distributed.ProcessGroupNCCL"}
#: What a device stands for among the arguments of an operator, and no tensor is made there.
OF_DEVICES = {"eq", "ne"}


def public_calls(module, prefix):
    """Every public name of a module and of the modules below it, with its value."""
    listed = getattr(module, "__all__", ())
    for name in sorted({*dir(module), *listed}):
        value = getattr(module, name)
        if name.startswith("_"):
            continue
        if isinstance(value, types.ModuleType):
            if value.__name__ == f"{prefix}.{name}":
                yield from public_calls(value, value.__name__)
        elif name in listed or (callable(value) and getattr(value, "__module__", None) == prefix):
            yield f"{prefix}.{name}", value


def takes_device(function):
    """Whether a function of torch says by its signature, or by the first line of its text, that it takes a device."""
    try:
        return bool(DEVICE_ARGUMENTS & inspect.signature(function).parameters.keys())
    except (TypeError, ValueError):  # of C++
        text = getattr(function, "__doc__", None)
        return isinstance(text, str) and "device=" in text.strip().partition("\n")[0]


def with_device_operator():
    """Names of operators that take a device."""
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::") and any("Device" in str(each.type) for each in schema.arguments):
            yield schema.name.removeprefix("aten::")


def is_device_type(name):
    try:
        return bool(torch.device(name))
    except RuntimeError:
        return False


def unnamed(names):
    return sorted(name for name in names if name not in NAMED)


class DeviceTable(TestCase):
    def test_every_public_name_of_the_device_modules(self):
        named = {id(getattr(*found)) for row in TABLE for name in row.names if (found := found_call(row, name, "cuda"))}
        for module in (torch.cuda, torch.accelerator):
            calls = list(public_calls(module, module.__name__))
            self.assertGreater(len(calls), 9)
            self.assertEqual([], unnamed(name for name, value in calls if id(value) not in named))

    def test_every_function_that_takes_a_device(self):
        operators = set(with_device_operator()) - OF_DEVICES
        for owner, prefix in ((torch, "torch"), (torch.Tensor, "torch.Tensor")):
            found = {name for name in operators if hasattr(owner, name)}
            found |= {name for name in dir(owner) if takes_device(getattr(owner, name))}
            found = {
                name for name in found if not name.startswith("_") and (name == "cuda" or not is_device_type(name))
            }
            self.assertGreater(len(found), 8)
            self.assertEqual([], unnamed(f"{prefix}.{name}" for name in found))
        for below in ("amp", "fft", "nested", "random"):
            names = [name for name in dir(getattr(torch, below)) if not name.startswith("_")]
            found = [name for name in names if takes_device(getattr(getattr(torch, below), name))]
            alike = {f"torch.{name}" for name in ("autocast", "GradScaler")}
            self.assertEqual(
                [], sorted({*unnamed(f"torch.{below}.{name}" for name in found)} - {*self.also(below, alike)})
            )

    def also(self, below, names):
        """The names of `torch` under which a module of it has the same."""
        return {name.replace("torch.", f"torch.{below}.") for name in names}

    def test_every_row_is_of_something(self):
        for row in TABLE:
            if row.way is Way.DISTRIBUTED:
                importlib.import_module(row.owner)
            with self.subTest(row.owner, calls=row.calls):
                names = [name for name in row.names if f"{row.owner}.{name}" not in NEW]
                self.assertTrue(not names or any(found_call(row, name, "cuda") for name in names))

    def test_no_name_stands_twice(self):
        names = [f"{row.owner}.{name}" for row in TABLE for name in row.names]
        self.assertEqual([], sorted({name for name in names if names.count(name) > 1}))

    def test_the_site_has_it(self):
        text = (ROOT / "docs" / "mapped-devices.md").read_text()
        self.assertIn("\n".join(table_text()), text)


class Help(SampleTestCase):
    def test_help_has_it(self):
        run = self.run_command("-m", "torch_testing_shim", "--help")
        self.assertEqual(0, run.exit_code, run.output)
        self.assertIn("usage: python -m torch_testing_shim", run.output)
        self.assertIn("\n".join(table_text()), run.output)


if __name__ == "__main__":
    run_tests()
