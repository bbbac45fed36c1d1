"""hypothesis profiles: how many examples a property-based test tries by default, when debugging, and on CI.

Most test files use no hypothesis, and its import costs a tenth of a second. So the profile is loaded with hypothesis:
at once where it is imported already, else by a finder that waits for its import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from torch_testing_shim._shared.settings import Settings

#: Examples per profile, as upstream.
EXAMPLES = {"dev": 10, "debug": 1000, "pytorch_ci": 50}


def load_profile_with_hypothesis(settings: Settings) -> None:
    """Load the profile now if hypothesis is imported, else as soon as it is."""
    if "hypothesis" in sys.modules:
        load_profile(settings)
    else:
        sys.meta_path.insert(0, _AfterHypothesis(lambda: load_profile(settings)))


class _AfterHypothesis(MetaPathFinder):
    """Finds nothing itself; calls a function once hypothesis has been imported."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "hypothesis":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _LoaderAndThen(spec.loader, self._imported)  # looking for hypothesis does not import it
        return spec

    def _imported(self) -> None:
        sys.meta_path.remove(self)
        self._then()


class _LoaderAndThen(Loader):
    """Loads by the real loader, puts that back in its place, and calls a function. The real one may serve other modules
    too, as pytest's does, and is left as it is."""

    def __init__(self, loader: Loader, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then()


def load_profile(settings: Settings) -> None:
    """Register the profiles and make the one that `settings` names the default of all tests defined from now on.

    No profile has a deadline or minds slow examples: the first example of a test that starts ranks pays for what later
    ones reuse. None keeps a database of failing examples: what a run tries must not depend on the runs before it.
    """
    import hypothesis  # a tenth of a second, which most test files can do without

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
