"""-k: patterns as unittest has them, expressions as pytest has them."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

NAME = "test_store.FileStore.test_wait_gloo"
WORDS = st.sampled_from(["wait", "gloo", "nccl", "FILESTORE", "test_"])
#: Expressions as Python and pytest read them alike, for Python to judge.
EXPRESSIONS = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        inner.map("not {}".format),
        inner.map("({})".format),
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join),
    ),
    max_leaves=6,
)


class KeywordTest(TestCase):
    def matches(self, text: str) -> bool:
        return read_keyword(text)(NAME)

    def test_a_pattern_is_a_part_of_the_name_or_a_glob_in_its_own_case(self) -> None:
        matching = ("wait", "FileStore.test", "*gloo", "test_store.*wait*", "")
        self.assertEqual(dict.fromkeys(matching, True), {text: self.matches(text) for text in matching})
        others = ("filestore", "gloo*", "nccl", "and")
        self.assertEqual(dict.fromkeys(others, False), {text: self.matches(text) for text in others})

    @given(EXPRESSIONS)
    def test_an_expression_means_what_it_means_in_python(self, text: str) -> None:
        values = {word: word.lower() in NAME.lower() for word in ("wait", "gloo", "nccl", "FILESTORE", "test_")}
        self.assertEqual(eval(text, {}, values), read_keyword(f" {text}")(NAME), text)

    def test_expressions_that_cannot_be_read(self) -> None:
        self.assertExpectedInline(
            "\n".join(self.refusal(text) for text in ("a and", "(a or b", "a b", "not )", "a (b)", " ", "()")),
            """\
cannot read -k 'a and' at its end: write words with and, or, not and parentheses
cannot read -k '(a or b' at its end: write words with and, or, not and parentheses
cannot read -k 'a b' at 'b': write words with and, or, not and parentheses
cannot read -k 'not )' at ')': write words with and, or, not and parentheses
cannot read -k 'a (b)' at '(': write words with and, or, not and parentheses
cannot read -k ' ' at its end: write words with and, or, not and parentheses
cannot read -k '()' at ')': write words with and, or, not and parentheses""",
        )

    @given(st.text(alphabet="ab ()*\nnotandor", max_size=12))
    def test_any_text_is_read_or_refused_in_one_line(self, text: str) -> None:
        try:
            self.assertIn(read_keyword(text)(NAME), (True, False))
        except KeywordError as error:
            self.assertNotIn("\n", str(error))

    def refusal(self, text: str) -> str:
        with self.assertRaises(KeywordError) as caught:
            read_keyword(text)
        return str(caught.exception)


if __name__ == "__main__":
    run_tests()
