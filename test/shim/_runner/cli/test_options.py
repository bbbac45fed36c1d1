"""Options: the record that the whole runner reads."""

from __future__ import annotations

import dataclasses

from torch_testing_shim._runner.cli.options import Options
from torch_testing_shim.common_utils import TestCase, run_tests


class OptionsTest(TestCase):
    def test_output_is_streamed_from_the_first_v_on(self) -> None:
        self.assertEqual([False, True, True], [Options(verbosity=verbosity).verbose for verbosity in (0, 1, 2)])

    def test_an_order_is_copied_and_never_changed(self) -> None:
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Options().jobs = 2  # type: ignore[misc]


if __name__ == "__main__":
    run_tests()
