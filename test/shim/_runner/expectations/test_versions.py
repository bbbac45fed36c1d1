"""Ranges of torch's versions: what lies in them, and which of them meet."""

from __future__ import annotations

import torch
from hypothesis import given, strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torch_testing_shim._runner.expectations.versions import check_range, installed_torch, is_in_range, ranges_meet
from torch_testing_shim.common_utils import TestCase, run_tests

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

    def test_what_is_no_range_is_told(self) -> None:
        for text in ("", "2.6", "new", ">=2.6;<2.9", "===2.6"):
            with self.assertRaisesRegex(ValueError, "is no range of versions; write one such as >=2.6,<2.9"):
                check_range(text)
        check_range(">=2.6,<2.9")

    @given(RANGES, RANGES)
    def test_ranges_meet_where_packaging_finds_a_version_in_both(self, one: str, other: str) -> None:
        expected = not SpecifierSet(f"{one},{other}", prereleases=True).is_unsatisfiable()
        self.assertEqual(expected, ranges_meet(one, other))

    def test_all_versions_meet_every_range(self) -> None:
        self.assertTrue(ranges_meet("", "<2"))
        self.assertTrue(ranges_meet("", ""))


if __name__ == "__main__":
    run_tests()
