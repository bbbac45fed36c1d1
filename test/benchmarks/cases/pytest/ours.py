"""Functions on ranks, by this package's plugin."""

import pytest
from bench.function_body import NUMBERS, RANKS, all_reduce


@pytest.mark.ranks(RANKS)
@pytest.mark.parametrize("number", NUMBERS)
def test_all_reduce(number, rank, process_group):
    all_reduce(number, rank)
