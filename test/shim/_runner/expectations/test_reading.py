"""Reading an expectations file: what it says, and the sentence for each mistake."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torch_testing_shim._runner.expectations.reading import (
    installed_torch,
    is_in_range,
    is_range,
    may_meet,
    parse_expectations,
    ranges_meet,
    read_text,
)
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim._shared.expectations import Expectation
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import FLAKY, SKIP, XFAIL, entries, expectation
from properties import given

WHOLE = """
[[test]]
id = "distributed/test_x::TestFoo.test_bar"
expect = "xfail"
reason = "no bfloat16 all_reduce yet"
issue = "https://issue/1"
when = { device = "npu", torch = ">=2.6,<2.9" }
error = "not implemented for 'BFloat16'"

[[test]]
id = "distributed/*"
expect = "skip"
when.device = ["cuda", "npu"]

[[test]]
id = "test_y::A"
expect = "flaky"
"""


def toml(entry: Expectation) -> str:
    """An entry as a person may write it: JSON's texts are TOML's."""

    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=False)

    fields = {"id": entry.id, "expect": entry.expect.value, "reason": entry.reason, "issue": entry.issue}
    lines = ["[[test]]", *(f"{key} = {text(value)}" for key, value in fields.items()), f"error = {text(entry.error)}"]
    lines += [f"when.device = {text(entry.devices)}"] if entry.devices else []
    lines += [f"when.torch = {text(entry.torch)}"] if entry.torch else []
    return "\n".join(lines)


class ReadingTest(TestCase):
    def refusal(self, text: str) -> str:
        with self.assertRaises(UsageError) as caught:
            parse_expectations(text, "e.toml")
        return str(caught.exception)

    def test_all_that_an_entry_may_say(self) -> None:
        first = expectation(
            "distributed/test_x::TestFoo.test_bar",
            XFAIL,
            reason="no bfloat16 all_reduce yet",
            issue="https://issue/1",
            devices=("npu",),
            torch=">=2.6,<2.9",
            error="not implemented for 'BFloat16'",
        )
        others = expectation("distributed/*", SKIP, devices=("cuda", "npu")), expectation("test_y::A", FLAKY)
        self.assertEqual((first, *others), parse_expectations(WHOLE, "e.toml"))
        self.assertEqual("no bfloat16 all_reduce yet (https://issue/1)", first.why)
        self.assertEqual((), parse_expectations("# nothing yet\n", "e.toml"))

    def test_every_mistake_is_told_with_the_file_and_the_entry(self) -> None:
        self.assertExpectedInline(
            self.refusal(
                """
                [[tests]]
                [[test]]
                expect = "xfail"
                [[test]]
                id = "x::A.a"
                [[test]]
                id = "x::A.b"
                expect = "fail"
                ids = 3
                reason = 7
                [[test]]
                id = "x::A.{c"
                expect = "skip"
                error = "(a"
                when = { devices = "cpu", device = "a b", torch = "2.6" }
                [[test]]
                id = "x::"
                expect = "flaky"
                when = "npu"
                [[test]]
                id = "x::A.d"
                expect = "flaky"
                when = { device = [], torch = 2.6 }
                """
            ),
            """\
e.toml: there is no key 'tests'; entries are [[test]]
e.toml: entry 1: it has no id
e.toml: x::A.a: it has no expect
e.toml: x::A.b: there is no key 'ids'; an entry has id, expect, reason, issue, when, error
e.toml: x::A.b: expect is 'fail', and has to be xfail, skip or flaky
e.toml: x::A.b: reason is 7, and has to be a text
e.toml: x::A.{c: the id has a brace without its other one
e.toml: x::A.{c: error is no regular expression: missing ), unterminated subpattern at position 0
e.toml: x::A.{c: when has no key 'devices'; it has device and torch
e.toml: x::A.{c: when.device is 'a b', and has to be a device type such as "cpu", or a list of them
e.toml: x::A.{c: when.torch is '2.6', which is no range of versions; write one such as ">=2.6,<2.9"
e.toml: x::: the id is no test's id; write FILE::Class.test, FILE::Class or FILE
e.toml: x::: when is 'npu', and has to be a table such as { device = "cpu" }
e.toml: x::A.d: when.device is [], and has to be a device type such as "cpu", or a list of them
e.toml: x::A.d: when.torch is 2.6, which is no range of versions; write one such as ">=2.6,<2.9\"""",
        )

    def test_an_id_stands_once_for_each_device_and_version(self) -> None:
        def twice(one: str, other: str) -> str:
            return (
                f'[[test]]\nid = "x::A.a"\nexpect = "skip"\n{one}\n[[test]]\nid = "x::A::a"\nexpect = "flaky"\n{other}'
            )

        apart = (
            ('when.device = "cpu"', 'when.device = "npu"'),
            ('when.torch = "<2.6"', 'when.torch = ">=2.6"'),
            ('when = { device = "cpu", torch = "<2.6" }', 'when.torch = ">=2.6"'),
        )
        for pair in apart:
            self.assertEqual(2, len(parse_expectations(twice(*pair), "e.toml")), pair)
        meeting = (
            ("", ""),
            ('when.device = ["cpu", "npu"]', 'when.device = "npu"'),
            ('when.torch = "<2.7"', 'when.torch = ">2.6"'),
        )
        for pair in meeting:
            message = "e.toml: x::A::a: it stands here more than once, for the same device and version of torch"
            self.assertEqual(message, self.refusal(twice(*pair)), pair)

    def test_what_is_no_file_of_entries_is_told(self) -> None:
        self.assertRegex(self.refusal("[[test]\n"), r"^e\.toml is no TOML file: .*line 1")
        self.assertEqual("e.toml: 'test' is no list of entries; write each as [[test]]", self.refusal("[test]\nid = 3"))
        many = self.refusal("[[test]]\n" * 30)
        self.assertEqual((21, "e.toml: 40 more mistakes"), (len(many.splitlines()), many.splitlines()[-1]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "e.toml"
            with self.assertRaisesRegex(UsageError, "^cannot read the expectations .*: No such file or directory$"):
                read_text(path)
            path.write_bytes(b"\xff")
            with self.assertRaisesRegex(UsageError, "are not UTF-8 text$"):
                read_text(path)

    @given(st.lists(entries(), max_size=5))
    def test_what_is_written_is_read(self, written: list[Expectation]) -> None:
        text = "\n\n".join(map(toml, written))
        same_id = [
            (one, other)
            for place, one in enumerate(written)
            for other in written[:place]
            if one.pattern == other.pattern and may_meet(one, other)
        ]
        if same_id:
            self.assertIn("more than once", self.refusal(text))
        else:
            self.assertEqual(tuple(written), parse_expectations(text, "e.toml"))


VERSIONS = st.sampled_from(["2", "2.6", "2.6.1", "2.7", "2.13.0", "3.0"])
BOUNDS = st.builds(
    lambda operator, version: f"{operator}{version}", st.sampled_from(["<", "<=", ">", ">=", "=="]), VERSIONS
)
OTHERS = st.sampled_from(["!=2.6", "!=2.6.*", "==2.6.*", "~=2.6.1", "~=2.6", "<2.7.dev0", ">2.6.post1"])
RANGES = st.lists(BOUNDS | OTHERS, min_size=1, max_size=3).map(",".join)


class VersionsTest(TestCase):
    def test_the_version_is_the_one_that_is_imported(self) -> None:
        """A wheel's metadata may leave out the local part that the build says of itself: 2.14.1+cu130."""
        self.assertEqual(Version(str(torch.__version__)).public, Version(installed_torch()).public)

    def test_local_and_early_builds_have_their_place(self) -> None:
        self.assertTrue(is_in_range("2.13.0+cpu", ">=2.6,<3"))
        self.assertTrue(is_in_range("2.13.0+cpu", "==2.13.0"))
        for build in ("2.9.0a0+git123", "2.9.0.dev20251124+cu128", "2.9.0rc1", "2.9.0"):
            self.assertTrue(is_in_range(build, ">=2.9"), build)
            self.assertFalse(is_in_range(build, "<2.9"), build)
        self.assertFalse(is_in_range("2.13.0", "<2.13"))
        self.assertTrue(is_in_range("2.13.0", ""))

    def test_what_is_no_range(self) -> None:
        texts = ("", "2.6", "new", ">=2.6;<2.9", "===2.6", ">=2.6,<2.9")
        self.assertEqual([False] * 5 + [True], list(map(is_range, texts)))

    @given(RANGES, RANGES)
    def test_ranges_meet_where_packaging_finds_a_version_in_both(self, one: str, other: str) -> None:
        expected = not SpecifierSet(f"{one},{other}", prereleases=True).is_unsatisfiable()
        self.assertEqual(expected, ranges_meet(one, other))

    def test_all_versions_meet_every_range(self) -> None:
        self.assertTrue(ranges_meet("", "<2"))
        self.assertTrue(ranges_meet("", ""))


if __name__ == "__main__":
    run_tests()
