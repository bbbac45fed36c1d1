"""The text of an expectations file with changes made: comments, order and everything else stay."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._runner.expectations.changes import Change
from torch_testing_shim._runner.expectations.reading import may_meet, parse_expectations
from torch_testing_shim._runner.expectations.rewriting import check_rewritable, new_block, rewritten
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim._shared.expectations import Expectation
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from expectation_samples import entries, expectation
from properties import given

TEXT = """\
# Our list. Ask before you add to it.

# why a
[[test]]   # the first
id    = "x::A.a"
expect = "xfail"
error = 'old'  # of gloo

# ---- section two ----

# why b
[[ test ]]
expect = "xfail"
id = "x::A.b"
reason = '''
[[test]]
# no comment
'''
# why c
[[test]]
id = "x::A.c"
expect = "flaky"
[test.when]
device = "cpu"

# the end
"""
A, B, C = parse_expectations(TEXT, "e.toml")


def unique(drawn: list[Expectation]) -> list[Expectation]:
    """Those of the entries that can stand in one file."""
    kept: list[Expectation] = []
    for entry in drawn:
        if not any(entry.pattern == other.pattern and may_meet(entry, other) for other in kept):
            kept.append(entry)
    return kept


class RewritingTest(TestCase):
    def rewritten(self, *changes: Change, text: str) -> str:
        return rewritten(text, parse_expectations(text, "e.toml"), changes, "e.toml")

    def test_all_changes_at_once(self) -> None:
        text = TEXT.replace("[[test]]\n# no comment", "[[ test\n# no comment")  # a text that looks like no header
        entry_b = parse_expectations(text, "e.toml")[1]
        new = expectation("x::A.d", reason="failed", devices=("cpu",), torch="==2.13", error=r"it's \(b\)")
        changes = (Change(A, replace(A, error=r"new \(b\)")), Change(entry_b, None, "it passed"), Change(None, new))
        self.assertExpectedInline(
            self.rewritten(*changes, text=text),
            r"""# Our list. Ask before you add to it.

# why a
[[test]]   # the first
id    = "x::A.a"
expect = "xfail"
error = 'new \(b\)'  # of gloo

# ---- section two ----

# why c
[[test]]
id = "x::A.c"
expect = "flaky"
[test.when]
device = "cpu"

# the end

[[test]]
id = "x::A.d"
expect = "xfail"
reason = "failed"
when = {device = "cpu", torch = "==2.13"}
error = "it's \\(b\\)"
""",
        )

    def test_what_cannot_be_taken_apart_is_refused_before_the_run(self) -> None:
        torn = '[[test]]\nid = "x::A.a"\nexpect = "skip"\nreason = """\n# no comment"""\n'
        for text in (TEXT, torn, 'test = [{ id = "x", expect = "skip" }]\n', '[["test"]]\nid = "x"\nexpect = "skip"\n'):
            with self.assertRaisesRegex(UsageError, "^e.toml cannot be updated: each entry has to stand under a"):
                check_rewritable(text, "e.toml")
        for text in ("", "# nothing yet\n", TEXT.replace("[[test]]\n# no comment", "")):
            check_rewritable(text, "e.toml")

    def test_a_text_that_would_say_something_else_is_not_written(self) -> None:
        text = TEXT.replace("[[test]]\n# no comment", "")
        others = (A, B, expectation("x::A.c"))
        with self.assertRaisesRegex(UsageError, "^e.toml cannot be updated: its text is written in a way"):
            rewritten(text, others, [Change(A, None)], "e.toml")

    def test_line_ends_and_an_empty_file(self) -> None:
        lines = '# a|[[test]]|id = "x::A.a"|expect = "skip"||# b|[[test]]|id = "x::A.b"|expect = "skip"|'
        windows = lines.replace("|", "\r\n")
        first = parse_expectations(windows, "e.toml")[0]
        self.assertEqual(windows[windows.index("# b") :], self.rewritten(Change(first, None), text=windows))
        self.assertEqual(new_block(A), self.rewritten(Change(None, A), text=""))

    @given(st.lists(entries(), max_size=6), st.data())
    def test_the_new_text_says_what_was_meant(self, drawn: list[Expectation], data: st.DataObject) -> None:
        known = unique(drawn)
        added = data.draw(st.integers(0, len(known)))
        old, new = known[added:], known[:added]
        removed = [entry for entry in old if data.draw(st.booleans())]
        text = "# head\n\n" + "\n".join(f"# about {number}\n{new_block(entry)}" for number, entry in enumerate(old))
        changes = [*(Change(entry, None) for entry in removed), *(Change(None, entry) for entry in new)]
        check_rewritable(text, "e.toml")
        made = rewritten(text, old, changes, "e.toml")
        kept = [(number, entry) for number, entry in enumerate(old) if entry not in removed]
        self.assertEqual((*(entry for _, entry in kept), *new), parse_expectations(made, "e.toml"))
        comments = ["# head", *(f"# about {number}" for number, _ in kept)]
        self.assertEqual(comments, [line for line in made.splitlines() if line.startswith("#")])


if __name__ == "__main__":
    run_tests()
