"""Code of a persistent rank: it runs test after test of its class, as they are ordered, and reports on each.

    controller  --"test_name\\n"-->  FIFO  ---->  rank
                <--one RankOutcome-- channel --'

A rank whose test failed ends at once, so that its peers learn of it; the controller starts others for the next test.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import IO

from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.outcome import RankOutcome
from torch_testing_shim._engine.rank_outcomes import outcome_of_exception, pass_outcome, skip_outcome

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


class TaskQueue:
    """The tests that this rank is ordered to run.

    Args:
        orders: path of the FIFO that their names come through.
        owner: the full name of their class.
    """

    def __init__(self, orders: str, owner: str) -> None:
        self._stream: IO[str] = open(orders)  # noqa: SIM115 - open until the rank ends
        self._owner = owner

    def __enter__(self) -> TaskQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def get(self) -> str | None:
        """Waits for the next test. Returns its id, "module.Class.test_x", or None once the controller has closed its
        end."""
        line = self._stream.readline()
        return f"{self._owner}.{line.strip()}" if line else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.get, None)


class CompletionQueue:
    """Tells the controller how tests have ended.

    Args:
        rank: this rank.
        channel: its pipe to the controller.
    """

    def __init__(self, rank: int, channel: ChannelWriter) -> None:
        self._rank = rank
        self._channel = channel

    def put(self, result: RankOutcome | BaseException | object) -> None:
        """Tells how the latest test has ended.

        Args:
            result: its outcome, or the exception that it raised (a skip's too); anything else means that it has passed
                (upstream puts the test's id).
        """
        if isinstance(result, unittest.SkipTest):
            result = skip_outcome(self._rank, str(result))
        elif isinstance(result, BaseException):
            result = outcome_of_exception(self._rank, result)
        elif not isinstance(result, RankOutcome):
            result = pass_outcome(self._rank)
        self._channel.send(result)
