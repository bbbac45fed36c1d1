"""torch_testing_shim._isolation.body_keeper"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from unittest import mock

import torch

from torch_testing_shim._isolation.body_keeper import BodyKeeper
from torch_testing_shim.common_utils import TestCase, run_tests

CHANGED = {"list": [1]}


class BodyKeeperTest(TestCase):
    def test_what_a_body_changes_is_put_back_or_told_and_what_was_set_before_it_stays(self) -> None:
        keeper = BodyKeeper()
        keeper.before_body(type(self))
        self.assertEqual((), keeper.after_body())

        os.environ["KEPT"] = "by setUp"
        CHANGED["list"].append(2)
        patch = mock.patch.object(sys, "api_version", 1)
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(os.environ.pop, "KEPT")
        keeper.before_body(type(self))
        os.environ["KEPT"] = "by the body"
        sys.modules["made_by_the_body"] = ModuleType("made_by_the_body")
        torch.set_default_dtype(torch.float64)
        CHANGED["list"].append(3)
        left = keeper.after_body()
        self.assertEqual((f"{__name__}.CHANGED was changed",), left)
        self.assertEqual("by setUp", os.environ["KEPT"])
        self.assertEqual(torch.float32, torch.get_default_dtype())

        keeper.before_body(type(self))
        self.assertEqual((), keeper.after_body())  # told once


if __name__ == "__main__":
    run_tests()
