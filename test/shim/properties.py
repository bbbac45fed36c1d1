"""`given` for the suite's own properties: 200 examples of each.

The profiles that users choose from (PYTORCH_HYPOTHESIS_PROFILE) try 10 where nothing else is chosen, as upstream's do:
too few for an `and` that became an `or` in a rare case. A profile with more examples than 200 is left its own number.
"""

from collections.abc import Callable
from typing import Any

import hypothesis

EXAMPLES = 200


def given(*strategies: Any, **named: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`hypothesis.given`, with more examples and the rest of the profile in use."""
    profile = hypothesis.settings(max_examples=max(EXAMPLES, hypothesis.settings.default.max_examples))
    return lambda test: profile(hypothesis.given(*strategies, **named)(test))
