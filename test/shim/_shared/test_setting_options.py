"""The options that set settings: each row of the table with an option has it, on the command lines that it says."""

from __future__ import annotations

import argparse
import contextlib

from torch_testing_shim._program.options import parse_arguments
from torch_testing_shim._runner.cli.arguments import parse_options
from torch_testing_shim._shared.setting_options import add_setting_options, take_settings
from torch_testing_shim._shared.setting_rows import Setting
from torch_testing_shim._shared.settings import DEFAULTS, SETTINGS, Settings
from torch_testing_shim._shared.values import Unusable
from torch_testing_shim.common_utils import TestCase, run_tests


def sample(row: Setting) -> str:
    """A text that a setting takes."""
    for text in ("cpu", "1"):
        with contextlib.suppress(Unusable):
            row.read(text)
            return text
    raise AssertionError(f"no sample for {row.variable}")


def given(row: Setting) -> list[str]:
    """A command line with the option of a setting."""
    assert row.option is not None
    return [row.option.names[-1], *([sample(row)] if row.option.metavar else [])]


class SettingOptions(TestCase):
    def test_each_option_reaches_its_setting_on_each_command_line_that_has_it(self) -> None:
        seen = set()
        for name, row in SETTINGS.items():
            if row.option is None:
                continue
            wanted = row.read(sample(row))
            if row.option.in_files:
                seen.add((name, getattr(parse_arguments(given(row), "test_x.py").settings, name) == wanted))
            if row.option.in_runner:
                seen.add((name, getattr(parse_options(given(row)).settings, name) == wanted))
        self.assertEqual({(name, True) for name, row in SETTINGS.items() if row.option is not None}, seen)

    def test_what_is_not_given_is_at_its_default(self) -> None:
        self.assertEqual(DEFAULTS, parse_options([]).settings)
        self.assertEqual(DEFAULTS, parse_arguments([], "test_x.py").settings)

    def test_an_option_without_its_value(self) -> None:
        parser = argparse.ArgumentParser()
        add_setting_options(parser.add_argument_group(), in_runner=False)
        settings = take_settings(vars(parser.parse_args(["--import-slow-tests"])), in_runner=False)
        self.assertTrue(str(settings.slow_tests_file).endswith("/slow_tests.json"))

    def test_only_settings_are_taken(self) -> None:
        """The runner has options of its own that are called as settings are."""
        parser = argparse.ArgumentParser()
        add_setting_options(parser.add_argument_group(), in_runner=True)
        parser.add_argument("--showlocals", action="store_true")
        given = vars(parser.parse_args(["--seed", "3", "--showlocals"]))
        self.assertEqual(Settings(seed=3), take_settings(given, in_runner=True))
        self.assertEqual({"showlocals": True}, given)


if __name__ == "__main__":
    run_tests()
