"""The parser, and upstream's options that mean nothing here: accepted with their values, and noted once."""

from __future__ import annotations

import argparse

from torch_testing_shim._runner.cli.parser import make_parser
from torch_testing_shim.common_utils import TestCase, run_tests


class ParserTest(TestCase):
    def parse(self, *arguments: str) -> argparse.Namespace:
        return make_parser().parse_intermixed_args(arguments)

    def notes(self, *arguments: str) -> list[str]:
        return list(self.parse(*arguments).notes)

    def test_none_of_them_is_no_note(self) -> None:
        self.assertEqual(([], ["a"]), (self.notes("a"), self.parse("a").names))
        self.assertEqual({"names": ["a"], "notes": ()}, vars(self.parse("a")))

    def test_each_used_one_is_noted_once_in_the_order_of_the_line(self) -> None:
        self.assertExpectedInline(
            "\n".join(self.notes("--onnx", "-core", "--mps", "--onnx")),
            """\
--onnx means nothing here and is ignored
-core means nothing here and is ignored
--mps means nothing here and is ignored""",
        )

    def test_values_go_with_their_options(self) -> None:
        found = self.parse(
            "a", "--xdoctest-command", "list", "b", "--run-specified-test-cases=c.csv", "--export-past-test-times"
        )
        self.assertEqual(["a", "b"], found.names)
        self.assertEqual(3, len(found.notes))

    def test_help_does_not_show_them(self) -> None:
        self.assertNotIn("onnx", make_parser().format_help())
        self.assertNotIn("no-keep-going", make_parser().format_help())


if __name__ == "__main__":
    run_tests()
