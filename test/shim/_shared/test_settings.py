"""The settings: every variable and every option, its default, and one sentence for a value that cannot be used."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from unittest import mock

import expecttest
from hypothesis import strategies as st

from torch_testing_shim._program.options import parse_arguments
from torch_testing_shim._runner.cli.arguments import parse_options
from torch_testing_shim._shared.device_map import parse_device_map
from torch_testing_shim._shared.setting_rows import DEFAULT_TIMEOUT_SECONDS, Setting
from torch_testing_shim._shared.settings import (
    DEFAULTS,
    SETTINGS,
    Settings,
    SettingsError,
    add_setting_options,
    as_variables,
    changed_environment,
    read_settings,
    take_settings,
)
from torch_testing_shim._shared.values import Unusable, as_text
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "settings.md"
VARIABLES = [row.variable for row in SETTINGS.values()]


def cell(row: Setting) -> str:
    """The option that sets a setting, as docs/settings.md has it."""
    option = row.option
    if option is None:
        return ""
    name = option.names[0] + (f" {option.metavar}" if option.metavar else "")
    takers = [who for who, takes in (("files", option.in_files), ("`run_test.py`", option.in_runner)) if takes]
    return f"`{name}` of {' and '.join(takers)}"


def table(*, is_ours: bool) -> str:
    """The rows of the table as Markdown.

    Args:
        is_ours: those that the harness or a launcher sets; else those that people set.
    """
    lines = ["| variable | option | default | meaning | in a rerun line |", "| --- | --- | --- | --- | --- |"]
    for row in SETTINGS.values():
        if row.is_ours is is_ours:
            default = "" if row.default is None else f"`{as_text(row.default)}`"
            cells = (f"`{row.variable}`", cell(row), default, row.meaning, "yes" if row.is_repeated else "")
            lines.append("| " + " | ".join(cells) + " |")
    return re.sub("  +", " ", "\n".join(lines)) + "\n"


def documented(text: str) -> str:
    """The document with the tables of the code in place of its own."""
    for is_ours in (False, True):
        name = "ours" if is_ours else "yours"
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{table(is_ours=is_ours)}\n{end}{rest.split(end)[1]}"
    return text


class SettingsTest(TestCase):
    def test_the_document_has_the_tables(self) -> None:
        """`python test/shim/_shared/test_settings.py -k document --accept` writes them."""
        text = DOCUMENT.read_text()
        if expecttest.ACCEPT:
            DOCUMENT.write_text(documented(text))
        else:
            self.assertEqual(documented(text), text)

    def test_each_row_stands_for_a_variable_of_its_own(self) -> None:
        self.assertEqual(len(VARIABLES), len(set(VARIABLES)))
        self.assertEqual({field.name for field in fields(Settings)}, SETTINGS.keys())

    def test_an_empty_environment_gives_the_defaults(self) -> None:
        self.assertEqual(Settings(), read_settings({}))
        self.assertEqual(300.0, DEFAULT_TIMEOUT_SECONDS)

    def test_empty_values_are_as_good_as_none(self) -> None:
        empty = dict.fromkeys(VARIABLES, "")
        # an empty flag is off, and this one is on by default
        self.assertEqual(Settings(print_repro=False), read_settings(empty))

    def test_every_variable_reaches_its_setting(self) -> None:
        environ = {
            "TORCH_TESTING_SHIM_DEVICE": "cpu",
            "TORCH_TESTING_SHIM_START_METHOD": "spawn",
            "TORCH_TESTING_SHIM_DEVICE_INDICES": "2, 0",
            "WORLD_SIZE": "2",
            "TORCH_TESTING_SHIM_SEED": "0",
            "DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": "12.5",
            "TORCH_TESTING_SHIM_JOURNAL": "/a/journal",
            "OMP_NUM_THREADS": "2",
            "CI": "1",
            "PYTORCH_HYPOTHESIS_PROFILE": "debug",
            "PYTORCH_TEST_WITH_SLOW": "1",
            "PYTORCH_TEST_SKIP_FAST": "true",
            "PYTORCH_TEST_OMIT_SKIPPED": "1",
            "PYTORCH_PRINT_REPRO_ON_FAILURE": "0",
            "SLOW_TESTS_FILE": "slow.json",
            "DISABLED_TESTS_FILE": "disabled.json",
            "TORCH_TESTING_SHIM_RERUN_DISABLED_TESTS": "1",
            "TORCH_TESTING_SHIM_STALL_SECONDS": "0",
            "TORCH_TESTING_SHIM_LAZY_CONNECTIONS": "1",
            "TORCH_TESTING_SHIM_FULL_TRACEBACK": "1",
            "TORCH_TESTING_SHIM_SHARE_DEVICES": "1",
            "TORCH_TESTING_SHIM_REUSE_RANKS": "1",
            "TORCH_TESTING_SHIM_STRICT_LEAKS": "1",
            "RANK": "3",
            "TORCH_TESTING_SHIM_EXPECTATIONS": "/a/list",
            "MKL_NUM_THREADS": "4",
            "TMPDIR": "/tmp/x",
            "TORCH_TESTING_SHIM_UPSTREAM_FILE": "/a/test_x.py",
            "TORCH_TESTING_SHIM_MAP_DEVICE": "cuda=cpu",
            "TORCH_TESTING_SHIM_SHOW_OUTPUT": "1",
            "BACKEND": "mpi",
            "TORCH_TESTING_SHIM_SHARED_DIR": "/shared",
            "TORCH_TESTING_SHIM_SHOWLOCALS": "1",
        }
        expected = Settings(
            device="cpu",
            device_indices=(2, 0),
            start_method="spawn",
            world_size=2,
            seed=0,
            timeout_seconds=12.5,
            journal="/a/journal",
            omp_threads="2",
            is_ci=True,
            hypothesis_profile="debug",
            with_slow=True,
            skip_fast=True,
            omit_skipped=True,
            print_repro=False,
            slow_tests_file=os.path.abspath("slow.json"),
            disabled_tests_file=os.path.abspath("disabled.json"),
            disabled_tests_only=True,
            stall_seconds=0.0,
            lazy_connections=True,
            full_traceback=True,
            share_devices=True,
            reuse_ranks=True,
            strict_leaks=True,
            rank=3,
            expectations="/a/list",
            mkl_threads="4",
            temporary_folder="/tmp/x",
            upstream_file="/a/test_x.py",
            device_map=parse_device_map("cuda=cpu"),
            show_output=True,
            backend="mpi",
            shared_folder="/shared",
            showlocals=True,
        )
        self.assertEqual(VARIABLES, [name for name in VARIABLES if name in environ])
        self.assertEqual(expected, read_settings(environ))
        unchanged = [name for name, row in SETTINGS.items() if getattr(expected, name) == row.default]
        self.assertEqual([], unchanged)

    def test_a_rank_that_is_no_number_is_not_torchruns(self) -> None:
        self.assertIsNone(read_settings({"RANK": "sergeant"}).rank)

    def test_either_thread_variable_says_that_the_user_has_chosen(self) -> None:
        self.assertTrue(read_settings({"MKL_NUM_THREADS": "4"}).thread_caps_set)

    def test_any_value_of_ci_is_true_and_picks_its_hypothesis_profile(self) -> None:
        for value in ("1", "true", "false", "0"):
            settings = read_settings({"CI": value})
            self.assertTrue(settings.is_ci, value)
            self.assertEqual("pytorch_ci", settings.hypothesis_profile)

    def test_a_profile_chosen_by_hand_counts_on_ci_too(self) -> None:
        self.assertEqual("dev", read_settings({"CI": "1", "PYTORCH_HYPOTHESIS_PROFILE": "dev"}).hypothesis_profile)

    def test_the_environment_of_the_process_is_the_default_and_is_read_anew(self) -> None:
        for device in ("cpu", "cuda"):
            with mock.patch.dict(os.environ, {"TORCH_TESTING_SHIM_DEVICE": device}):
                self.assertEqual(device, read_settings().device)

    def test_a_relative_path_is_of_the_working_folder_each_time(self) -> None:
        self.addCleanup(os.chdir, os.getcwd())
        with mock.patch.dict(os.environ, {"SLOW_TESTS_FILE": "slow.json"}):
            for folder in ("/", "/usr"):
                os.chdir(folder)
                self.assertEqual(os.path.join(folder, "slow.json"), read_settings().slow_tests_file)

    def test_what_cannot_be_used_is_told_in_a_sentence(self) -> None:
        """`test_values` has more of such texts."""
        number, seconds = "a whole number", "a positive number of seconds"
        for variable, text, wanted in (
            ("TORCH_TESTING_SHIM_START_METHOD", "forkserver", "one of fork, spawn"),
            ("DISTRIBUTED_TESTS_DEFAULT_TIMEOUT", "0", seconds),
            ("WORLD_SIZE", "0", f"{number} from 1"),
            ("WORLD_SIZE", "9" * 5000, f"{number} from 1"),
            ("TORCH_TESTING_SHIM_SEED", "4294967296", f"{number} from 0 to 4294967295"),
            *(
                ("TORCH_TESTING_SHIM_DEVICE_INDICES", text, "different whole numbers with commas between")
                for text in ("0,-1", "1,1", "1,01", "0,", ",", "x", "9" * 5000)
            ),
            ("TORCH_TESTING_SHIM_STALL_SECONDS", "-1", f"0 or {seconds}"),
            ("PYTORCH_TEST_WITH_SLOW", "maybe", "1 or 0"),
        ):
            with self.assertRaises(SettingsError) as caught:
                read_settings({variable: text})
            self.assertEqual(f"{variable} is {text!r}; it must be {wanted}", str(caught.exception))

    def test_a_changed_environment_is_put_back(self) -> None:
        with mock.patch.dict(os.environ, {"SHIM_KEPT": "old", "SHIM_TAKEN": "old"}):
            os.environ.pop("SHIM_NEW", None)
            before = dict(os.environ)
            values = {"SHIM_KEPT": "new", "SHIM_TAKEN": None, "SHIM_NEW": "new"}
            with self.assertRaises(ZeroDivisionError), changed_environment(values):
                self.assertEqual(("new", "new"), (os.environ["SHIM_KEPT"], os.environ["SHIM_NEW"]))
                self.assertNotIn("SHIM_TAKEN", os.environ)
                raise ZeroDivisionError
            self.assertEqual(before, dict(os.environ))

    @given(st.dictionaries(st.sampled_from(VARIABLES), st.text(max_size=8)))
    def test_no_environment_causes_anything_but_settings_or_one_sentence(self, environ: dict[str, str]) -> None:
        try:
            settings = read_settings(environ)
        except SettingsError as error:
            self.assertTrue(any(str(error).startswith((f"{name} is ", f"{name}: ")) for name in environ), str(error))
            self.assertEqual(1, len(str(error).splitlines()))
        else:
            self.assertGreater(settings.timeout_seconds, 0)
            self.assertEqual(settings, read_settings(as_variables(settings)))


def sample(row: Setting) -> str:
    """A text that a setting takes."""
    for text in ("cpu", "1"):
        with contextlib.suppress(Unusable):
            row.read(text)
            return text
    raise AssertionError(f"no sample for {row.variable}")


def words_of(row: Setting) -> list[str]:
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
                seen.add((name, getattr(parse_arguments(words_of(row), "test_x.py").settings, name) == wanted))
            if row.option.in_runner:
                seen.add((name, getattr(parse_options(words_of(row)).settings, name) == wanted))
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
