"""Puts back what a test's body has changed in a process that is the test process and a rank at once (under torchrun).

What `setUp`, `setUpClass` and fixtures have set before the body stays: it is recorded when the body begins.
"""

from __future__ import annotations

from torch_testing_shim._isolation.fingerprint import Fingerprint, differences, renewed, take_fingerprint
from torch_testing_shim._isolation.rank_reset import RankReset

__unittest = True  # unittest and pytest leave the frames of this module out of a report


class BodyKeeper:
    """The keeper of this process; it is asked before and after each body."""

    def __init__(self) -> None:
        self._reset: RankReset | None = None
        self._fingerprint: Fingerprint | None = None

    def before_body(self, test_class: type) -> None:
        """Record the state that the body finds."""
        self._reset = RankReset.of_this_process() if self._reset is None else self._reset.renewed()
        # what was changed since the last body is not this one's
        self._fingerprint = take_fingerprint([test_class]) if self._fingerprint is None else renewed(self._fingerprint)

    def after_body(self) -> tuple[str, ...]:
        """Put back what the body has changed. Return a sentence for each thing that it has left nevertheless."""
        assert self._reset is not None and self._fingerprint is not None, "a body has begun"
        return (*self._reset.restore(), *differences(self._fingerprint))
