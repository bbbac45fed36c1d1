"""hypothesis profiles: how many examples a property-based test tries, here, when debugging, and on CI."""

from __future__ import annotations

import hypothesis

from torch_testing_shim._settings import Settings

__all__ = ["EXAMPLES", "load_profile"]

#: Examples per profile, as upstream.
EXAMPLES = {"dev": 10, "debug": 1000, "pytorch_ci": 50}


def load_profile(settings: Settings) -> None:
    """Registers the profiles and makes the one that `settings` names the default of all tests defined from now on.

    No profile has a deadline or minds slow examples: the first example of a test that starts ranks pays for what later
    ones reuse. None keeps a database of failing examples: what a run tries must not depend on the runs before it.
    """
    for name, examples in EXAMPLES.items():
        hypothesis.settings.register_profile(
            name,
            max_examples=examples,
            derandomize=name == "pytorch_ci",
            database=None,
            deadline=None,
            suppress_health_check=[hypothesis.HealthCheck.too_slow],
            verbosity=hypothesis.Verbosity.verbose if name == "debug" else hypothesis.Verbosity.normal,
        )
    hypothesis.settings.load_profile(settings.hypothesis_profile)
