"""State that a test leaves and nothing puts back is told by name: each case leaves one thing, in a forked process."""

import copyreg
import logging
import numbers
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import ClassVar
from unittest import mock

import torch
import torch.distributed as dist
from torch.distributed.fsdp import _flat_param
from torch.testing import _comparison
from torch.utils import _pytree

from torch_testing_shim._isolation.dict_versions import versions_are_known
from torch_testing_shim._isolation.fingerprint import differences, take_fingerprint
from torch_testing_shim._isolation.rank_reset import RankReset
from torch_testing_shim._isolation.replaced_attributes import _TURNS
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import forked

#: The state that a test leaves -> the function that leaves it.
LEAVING = {}

HELPER = types.ModuleType("helper_of_tests")
HELPER.__dict__.update(number=1, table={"nested": [1]}, removed=1)
SLEEP = time.sleep


class Base:
    attribute: ClassVar = [1]

    def method(self):
        return 1


class OtherBase(Base):
    pass


class OfTests(Base):
    pass


def give_a_kernel():
    sys.kept = torch.library.Library("aten", "IMPL")
    sys.kept.impl("special_erfcx", lambda x: x, "CPU")


def change_the_builtins():
    import builtins

    builtins.of_a_test = 1


LEAVING.update(
    {
        "torch.nn.modules.linear.Linear.forward was replaced": lambda: setattr(torch.nn.Linear, "forward", print),
        "torch.nn.modules.linear.Linear.__call__ was added": lambda: setattr(torch.nn.Linear, "__call__", len),
        "torch.nn.modules.linear.Linear.reset_parameters was removed": lambda: delattr(
            torch.nn.Linear, "reset_parameters"
        ),
        "torch.nn.functional.relu was replaced": lambda: setattr(torch.nn.functional, "relu", mock.Mock()),
        "torch.distributed.distributed_c10d.all_reduce was removed": lambda: delattr(
            dist.distributed_c10d, "all_reduce"
        ),
        "torch.distributed.fsdp._flat_param._FLAT_PARAM_PADDING_VALUE was replaced": lambda: setattr(
            _flat_param, "_FLAT_PARAM_PADDING_VALUE", 7
        ),
        "torch.cuda.of_a_test was added": lambda: setattr(torch.cuda, "of_a_test", mock.Mock()),
        f"{__name__}.OfTests.__bases__ was changed": lambda: setattr(OfTests, "__bases__", (OtherBase,)),
        "time.sleep was replaced": lambda: setattr(time, "sleep", len),
        "subprocess.Popen was replaced": lambda: setattr(subprocess, "Popen", mock.Mock()),
        "a patch of attribute is active": lambda: mock.patch.object(
            types.SimpleNamespace(attribute=1), "attribute"
        ).start(),
        "builtins.of_a_test was added": change_the_builtins,
        "helper_of_tests.number was changed": lambda: setattr(HELPER, "number", 2),
        "helper_of_tests.table was changed": lambda: HELPER.table["nested"].append(2),
        "helper_of_tests.removed was removed": lambda: delattr(HELPER, "removed"),
        "helper_of_tests.new was added": lambda: setattr(HELPER, "new", 1),
        f"{__name__}.Base.attribute was changed": lambda: OfTests.attribute.append(2),
        f"{__name__}.OfTests.method was added": lambda: setattr(OfTests, "method", print),
        "a class was registered with an abstract base class": lambda: numbers.Number.register(OfTests),
        "copyreg.dispatch_table was changed": lambda: copyreg.pickle(OfTests, repr),
        "logging._levelToName was changed": lambda: logging.addLevelName(logging.INFO, "of a test"),
        "torch.testing._comparison._DTYPE_PRECISIONS was changed": lambda: _comparison._DTYPE_PRECISIONS.update(
            {torch.float32: (1.0, 1.0)}
        ),
        "torch.utils._pytree.SUPPORTED_NODES was changed": lambda: _pytree.SUPPORTED_NODES.update({OfTests: None}),
        "operator aten/special_erfcx/CPU was defined": give_a_kernel,
        "thread 'lingers' is running": lambda: threading.Thread(
            target=time.sleep, args=(3600,), name="lingers", daemon=True
        ).start(),
        f"{__file__} is open": lambda: os.open(__file__, os.O_RDONLY),
    }
)


def leave_each():
    """Leave one thing after the other. Return what is found then, and once more at the end."""
    sys.modules[HELPER.__name__] = HELPER
    before = take_fingerprint([OfTests])
    found = {}
    for sentence, leave in LEAVING.items():
        leave()
        found[sentence] = list(differences(before))
        if sentence == "time.sleep was replaced":
            time.sleep = SLEEP
            differences(before)
    return found, list(differences(before))


def use_libraries():
    """Return what is found after ordinary use of torch."""
    reset = RankReset.of_this_process()
    before = take_fingerprint([OfTests])
    layer = torch.nn.Linear(2, 2)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    torch.nn.parallel.DistributedDataParallel(layer)(torch.ones(1, 2)).sum().backward()
    torch.optim.Adam(layer.parameters()).step()
    dist.all_reduce(torch.ones(1))
    with mock.patch("time.sleep"), mock.patch.object(torch.nn.Linear, "forward"):
        pass
    left = list(reset.restore())
    return left + [each for _ in range(2 * _TURNS) for each in differences(before)]


def replace_seldom():
    """Return what is found of a function that is compared seldom, and of one that was given other code, and after how
    many other tests."""
    before = take_fingerprint([])
    sys.modules["torch.fx.node"].map_arg = print
    torch.nn.functional.relu.__code__ = (lambda *_: None).__code__
    found = [(each, turn) for turn in range(_TURNS) for each in differences(before)]
    return sorted(found), [each for _ in range(_TURNS) for each in differences(before)]


def import_and_replace():
    """Return what is found of a module that has been imported after the fingerprint was taken."""
    before = take_fingerprint([])
    import wave

    unchanged = list(differences(before))
    wave.open = print
    return unchanged, [each for _ in range(_TURNS) for each in differences(before)]


class Differences(TestCase):
    def test_name_what_is_left(self):
        found, again = forked(leave_each)
        for sentence in LEAVING:
            with self.subTest(sentence):
                self.assertIn(sentence, found[sentence])
        lasting = {sentence for sentence in LEAVING if sentence.endswith(("is active", "is running", "is open"))}
        self.assertEqual({}, {key: value for key, value in found.items() if set(value) - {key} - lasting})
        self.assertEqual(sorted(lasting), sorted(again))

    def test_none_after_ordinary_use(self):
        self.assertEqual([], forked(use_libraries))

    def test_what_is_compared_seldom_is_found_in_its_turn_and_no_test_is_blamed_for_another(self):
        found, again = forked(replace_seldom)
        self.assertEqual([], again)
        deeds = ["torch.fx.node.map_arg was replaced", "torch.nn.functional.relu was given other code or defaults"]
        doubts = {0: "", 1: ", by this test or the one before it"}
        for deed, (sentence, tests) in zip(deeds, found, strict=True):
            self.assertEqual(deed + doubts.get(tests, f", by this test or one of the {tests} before it"), sentence)
        if versions_are_known():
            self.assertEqual(0, found[0][1], "what a module has is compared at once")

    def test_modules_that_are_imported_later(self):
        unchanged, (sentence,) = forked(import_and_replace)
        self.assertEqual([], unchanged)
        self.assertIn("wave.open was replaced" + ("" if versions_are_known() else ", by this test or "), sentence)


if __name__ == "__main__":
    run_tests()
