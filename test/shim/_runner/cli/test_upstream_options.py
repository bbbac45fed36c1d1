"""Upstream's options that mean nothing here: accepted with their values, noted once, and without any other effect."""

from __future__ import annotations

import argparse

from torch_testing_shim._runner.cli.upstream_options import add_upstream_options
from torch_testing_shim.common_utils import TestCase, run_tests


class UpstreamOptionsTest(TestCase):
    def parse(self, *arguments: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        parser.add_argument("names", nargs="*")
        add_upstream_options(parser)
        return parser.parse_intermixed_args(arguments)

    def notes(self, *arguments: str) -> list[str]:
        return list(self.parse(*arguments).notes)

    def test_none_of_them_is_no_note(self) -> None:
        self.assertEqual(([], ["a"]), (self.notes("a"), self.parse("a").names))

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
        parser = argparse.ArgumentParser()
        add_upstream_options(parser)
        self.assertNotIn("onnx", parser.format_help())


if __name__ == "__main__":
    run_tests()
