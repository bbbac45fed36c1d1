"""What a rank that is kept for a class does: it runs test after test, as they are ordered, and reports on each.

    controller  --"test_name\\n"-->  FIFO  ---->  rank
                <--one RankOutcome-- channel --'

A rank whose test failed ends at once, for its peers to learn of it; the controller starts others for the next test.
"""

from __future__ import annotations

from collections.abc import Callable

from torch_testing_shim._engine.channel import ChannelWriter
from torch_testing_shim._engine.outcome import RankOutcome

__all__ = ["serve"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def serve(orders: str, channel: ChannelWriter, run: Callable[[str], RankOutcome]) -> None:
    """Runs tests until the controller closes its end of the orders.

    Args:
        orders: path of the FIFO that they come through.
        channel: where the outcomes go.
        run: runs the test of this name and tells how it ended.

    Raises:
        SystemExit: a test failed, or asked for it.
    """
    with open(orders) as stream:
        for line in stream:
            outcome = run(line.strip())
            channel.send(outcome)
            if outcome.status.is_bad:
                raise SystemExit(outcome.exit_code)
