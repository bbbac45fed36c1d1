"""As many tests as the others have, without ranks and without torch: pytest's own start, and its own time for tests."""

import os

import pytest


@pytest.mark.parametrize("number", range(int(os.environ["BENCH_TESTS"])))
def test_nothing(number):
    pass
