"""The first line of a failure as a regular expression: the same failure matches it in another run."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from torch_testing_shim._runner.expectations.named_cause import cause_as_regex
from torch_testing_shim.common_utils import TestCase, run_tests


class NamedCauseTest(TestCase):
    def test_what_is_chance_is_left_open(self) -> None:
        for reason, again in (
            ("rank 1 errored: RuntimeError: no (b)", "rank 0 errored: RuntimeError: no (b)"),
            ("rank 1 (pid 23) died: SIGSEGV", "rank 1 (pid 4711) died: SIGSEGV"),
            ("OSError: no <X at 0x7f12ab34cd56>", "OSError: no <X at 0x7f99ab34cd00>"),
            ("OSError: [Errno 2] No: '/tmp/a1/b c'", "OSError: [Errno 2] No: '/tmp/z9/b c'"),
        ):
            regex = cause_as_regex(reason)
            self.assertRegex(reason, regex)
            self.assertRegex(again, regex)
            self.assertNotRegex(f"another {reason[-3:]}", regex)

    def test_it_is_easy_to_read(self) -> None:
        self.assertEqual(
            "not implemented for 'BFloat16', and so on", cause_as_regex("not implemented for 'BFloat16', and so on")
        )
        self.assertEqual("", cause_as_regex(""))

    @given(st.text(max_size=400))
    def test_it_is_found_in_the_reason(self, reason: str) -> None:
        self.assertIsNotNone(re.search(cause_as_regex(reason), reason))


if __name__ == "__main__":
    run_tests()
