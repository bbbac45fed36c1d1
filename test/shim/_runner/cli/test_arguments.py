"""Arguments: every spelling of the command line, and what wrong ones are told."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.cli.arguments import parse_options
from torch_testing_shim._runner.cli.options import DEFAULT_FILE_TIMEOUT, Options
from torch_testing_shim._runner.cli.parser import make_parser
from torch_testing_shim._runner.plan.sharding import Shard
from torch_testing_shim._shared.settings import SETTINGS, Settings
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from properties import given


class OptionsTest(TestCase):
    def leave(self, *arguments: str) -> tuple[object, str]:
        """The exit status and all output of a command line that does not run anything."""
        output = io.StringIO()
        leaves = self.assertRaises(SystemExit)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), leaves as caught:
            parse_options(arguments)
        return caught.exception.code, output.getvalue()

    def refusal(self, *arguments: str) -> str:
        status, output = self.leave(*arguments)
        self.assertEqual(2, status)
        return output.splitlines()[-1]

    def test_no_arguments_are_the_defaults(self) -> None:
        self.assertEqual(Options(), parse_options([]))

    def test_every_option_reaches_its_field(self) -> None:
        expected = Options(
            include=("a", "b", "c"),
            exclude=("d", "e"),
            keywords=("p", "q*"),
            distributed=True,
            shard=Shard(2, 3),
            last_failed=True,
            root=Path("r"),
            patterns=("*_t.py", "t_*"),
            exclude_folders=("o", "p/*"),
            list_names=True,
            dry_run=True,
            first="f",
            last="g",
            bring_to_front=("h", "i", "j"),
            failed_first=True,
            jobs=3,
            cold=True,
            keep_going=True,
            settings=Settings(
                device="cpu", world_size=2, seed=0, share_devices=True, strict_leaks=True, show_output=True
            ),
            showlocals=True,
            coverage=True,
            timeout=1.5,
            enable_timeout=True,
            deadline=60.0,
            file_arguments=("-f",),
            expectations=Path("e.toml"),
            update_expectations=True,
            import_disabled_tests=(Path("d.json"), Path("n.toml")),
            platforms=("linux", "rocm"),
            retries=2,
            fail_on_flaky=True,
            repeat=5,
            until_failure=True,
            verbosity=2,
            pipe_logs=True,
            durations=0,
            why_skipped=True,
            fail_if_all_skipped=True,
            save_xml="out",
            report_html=Path("r.html"),
            trace=Path("t.json"),
            json_lines=Path("l.jsonl"),
            times=Path("times.json"),
            merge_times=(Path("m1"), Path("m2")),
            write_failed=Path("failed.txt"),
        )
        line = """
            a -i b c -x d e -k p -k q* --distributed-tests --shard 2 3 --last-failed --list --dry-run
            --root r --patterns *_t.py t_* --exclude-folders o p/*
            --first f --last g --bring-to-front h i --bring-to-front j --failed-first
            -j 3 --cold --keep-going --device cpu --share-devices --world-size 2 --seed 0 --strict-leaks --showlocals
            --coverage --timeout 1.5 --enable-timeout --deadline 60 --retries 2 --fail-on-flaky --repeat 5
            --until-failure -v -v --pipe-logs --durations 0 --why-skipped --fail-if-all-skipped --save-xml=out
            --report-html r.html --trace t.json --json-lines l.jsonl --times times.json --merge-times m1 m2
            --write-failed failed.txt
            --expectations e.toml --update-expectations --import-disabled-tests d.json n.toml
            --platform linux --platform rocm -- -f
        """
        self.assertEqual(expected, parse_options(line.split()))

    def test_every_option_has_a_field_and_every_field_an_option(self) -> None:
        of_settings = {name for name, row in SETTINGS.items() if row.option is not None and row.option.in_runner}
        options = {action.dest for action in make_parser()._actions} - {"help", "names"} - of_settings
        self.assertEqual(options, set(Options.__dataclass_fields__) - {"file_arguments", "settings", "program"})

    def test_options_that_exclude_one_another(self) -> None:
        self.assertIs(False, parse_options(["--exclude-distributed-tests"]).distributed)
        self.assertEqual(Path("f"), parse_options(["--failed-from", "f"]).failed_from)
        self.assertExpectedInline(
            self.refusal("--distributed-tests", "--exclude-distributed-tests"),
            """run_test.py: error: argument --exclude-distributed-tests: not allowed with argument --distributed-tests""",  # noqa: E501
        )
        self.assertExpectedInline(
            self.refusal("--last-failed", "--failed-from", "f"),
            """run_test.py: error: argument --failed-from: not allowed with argument --last-failed""",
        )

    def test_options_that_imply_values(self) -> None:
        self.assertEqual(0, parse_options(["--until-failure"]).repeat)
        self.assertEqual(DEFAULT_FILE_TIMEOUT, parse_options(["--enable-timeout"]).timeout)
        self.assertEqual(7.0, parse_options(["--enable-timeout", "--timeout", "7"]).timeout)
        self.assertGreaterEqual(parse_options(["-j", "auto"]).jobs, 1)
        self.assertTrue(parse_options(["--coverage"]).cold)
        self.assertEqual(False, parse_options(["--showlocals", "--no-showlocals"]).showlocals)

    def test_long_spellings_mean_the_same(self) -> None:
        short = parse_options(["-i", "a", "-x", "b", "-v", "--keep-going"])
        long = parse_options(["--include", "a", "--exclude", "b", "--verbose", "--continue-through-error"])
        self.assertEqual(short, long)

    def test_names_may_stand_on_both_sides_of_options(self) -> None:
        self.assertEqual(("a", "b"), parse_options(["a", "-v", "b"]).include)

    def test_what_stands_after_the_dashes_is_passed_on_untouched(self) -> None:
        options = parse_options(["a", "--", "-v", "--", "--list"])
        self.assertEqual(("-v", "--", "--list"), options.file_arguments)
        self.assertEqual((False, False), (options.verbose, options.list_names))

    def test_save_xml_without_a_folder(self) -> None:
        options = parse_options(["a", "--save-xml"])
        self.assertEqual("", options.save_xml)

    def test_wrong_usage_is_told_in_one_line(self) -> None:
        self.assertExpectedInline(
            self.refusal("--shard", "3", "2"),
            """run_test.py: error: --shard: shard 3 of 2: the first number must lie between 1 and the second""",
        )
        self.assertExpectedInline(
            self.refusal("--shard", "one", "2"),
            """run_test.py: error: argument --shard: invalid int value: 'one'""",
        )
        self.assertExpectedInline(
            self.refusal("--update-expectations"),
            """run_test.py: error: --update-expectations goes with --expectations""",
        )
        self.assertExpectedInline(
            self.refusal("--platform", "rocm"),
            """run_test.py: error: --platform goes with --import-disabled-tests""",
        )
        self.assertExpectedInline(
            self.refusal("--device", "cpu; rm"),
            """run_test.py: error: --device 'cpu; rm' is not a device type; write one such as cpu or cuda""",
        )
        self.assertExpectedInline(
            self.refusal("-k", "a and"),
            """run_test.py: error: argument -k: cannot read -k 'a and' at its end: write words with and, or, not and parentheses""",  # noqa: E501
        )
        self.assertExpectedInline(self.refusal("--bogus"), """run_test.py: error: unrecognized arguments: --bogus""")

    def test_wrong_numbers(self) -> None:
        self.assertExpectedInline(
            self.refusal("-j", "0"),
            """run_test.py: error: argument -j/--jobs: '0' is neither a whole number from 1 nor auto""",
        )
        self.assertExpectedInline(
            self.refusal("--repeat", "0"),
            """run_test.py: error: argument --repeat: '0' is not a whole number from 1""",
        )
        self.assertExpectedInline(
            self.refusal("--retries", "-1"),
            """run_test.py: error: argument --retries: '-1' is not a whole number from 0""",
        )
        self.assertExpectedInline(
            self.refusal("--durations", "1e3"),
            """run_test.py: error: argument --durations: '1e3' is not a whole number from 0""",
        )
        self.assertExpectedInline(
            self.refusal("--timeout", "inf"),
            """run_test.py: error: argument --timeout: 'inf' is not a positive number of seconds""",
        )
        self.assertExpectedInline(
            self.refusal("--seed", str(2**32)),
            """run_test.py: error: argument --seed: '4294967296' is not a whole number from 0 to 4294967295""",
        )
        self.assertExpectedInline(
            self.refusal("--report-html", "a\nb"),
            """run_test.py: error: argument --report-html: 'a\\nb' is no path""",
        )

    @given(st.text(max_size=8))
    def test_any_text_is_a_number_or_refused_in_one_line(self, text: str) -> None:
        numbers = ("jobs", "world_size", "seed", "retries", "repeat", "durations", "timeout", "deadline")
        for field in numbers:
            option = f"--{field.replace('_', '-')}={text}"
            try:
                with contextlib.redirect_stderr(io.StringIO()) as errors:
                    options = parse_options([option])
                    value = getattr(options if hasattr(options, field) else options.settings, field)
            except SystemExit as leave:
                self.assertEqual((2, 2), (leave.code, errors.getvalue().count("\n")), option)
            else:
                self.assertGreaterEqual(value, 0)

    def test_no_option_can_be_abbreviated(self) -> None:
        self.assertIn("unrecognized arguments: --dry", self.refusal("--dry"))

    def test_help_names_every_option_and_every_exit_status(self) -> None:
        status, text = self.leave("--help")
        self.assertEqual(0, status)
        shown = [action for action in make_parser()._actions if action.help != argparse.SUPPRESS]
        self.assertGreater(len(shown), 40)
        for option in (option for action in shown for option in action.option_strings):
            self.assertIn(option, text)
        for exit_status in ("0 all passed", "1 something failed", "2 wrong usage", "5 nothing ran", "130", "143"):
            self.assertIn(exit_status, text)


if __name__ == "__main__":
    run_tests()
