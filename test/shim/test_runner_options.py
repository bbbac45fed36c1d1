"""Options: every spelling of the command line, and what wrong ones are told."""

from __future__ import annotations

import contextlib
import io

from torch_testing_shim._runner.options import Options, parse_options
from torch_testing_shim._runner.sharding import Shard
from torch_testing_shim.common_utils import TestCase, run_tests


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
        line = (
            "a -i b c -x d e -k p -k q* -v --keep-going --list --dry-run --device cpu --shard 2 3 --save-xml=out -- -f"
        )
        expected = Options(
            include=("a", "b", "c"),
            exclude=("d", "e"),
            keywords=("p", "q*"),
            verbose=True,
            list_names=True,
            dry_run=True,
            keep_going=True,
            device="cpu",
            shard=Shard(2, 3),
            save_xml=True,
            xml_folder="out",
            file_arguments=("-f",),
        )
        self.assertEqual(expected, parse_options(line.split()))

    def test_long_spellings_mean_the_same(self) -> None:
        short = parse_options(["-i", "a", "-x", "b", "-v", "--keep-going"])
        long = parse_options(["--include", "a", "--exclude", "b", "--verbose", "--continue-through-error"])
        self.assertEqual(short, long)

    def test_include_and_exclude_add_up(self) -> None:
        options = parse_options(["-i", "a", "-i", "b", "-x", "c", "-x", "d"])
        self.assertEqual((("a", "b"), ("c", "d")), (options.include, options.exclude))

    def test_names_may_stand_on_both_sides_of_options(self) -> None:
        self.assertEqual(("a", "b"), parse_options(["a", "-v", "b"]).include)

    def test_what_stands_after_the_dashes_is_passed_on_untouched(self) -> None:
        options = parse_options(["a", "--", "-v", "--", "--list"])
        self.assertEqual(("-v", "--", "--list"), options.file_arguments)
        self.assertEqual((False, False), (options.verbose, options.list_names))

    def test_save_xml_without_a_folder(self) -> None:
        options = parse_options(["a", "--save-xml"])
        self.assertEqual((True, None), (options.save_xml, options.xml_folder))

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
            self.refusal("--device", "cpu; rm"),
            """run_test.py: error: --device 'cpu; rm' is not a device type; write one such as cpu or cuda""",
        )
        self.assertExpectedInline(self.refusal("--bogus"), """run_test.py: error: unrecognized arguments: --bogus""")

    def test_no_option_can_be_abbreviated(self) -> None:
        self.assertIn("unrecognized arguments: --dry", self.refusal("--dry"))

    def test_help_names_every_option_and_every_exit_status(self) -> None:
        status, text = self.leave("--help")
        self.assertEqual(0, status)
        options = "-i -x -k -v --list --dry-run --continue-through-error --keep-going --device --shard --save-xml"
        for option in options.split():
            self.assertIn(option, text)
        for exit_status in ("0 all passed", "1 something failed", "2 wrong usage", "5 nothing ran", "130", "143"):
            self.assertIn(exit_status, text)


if __name__ == "__main__":
    run_tests()
