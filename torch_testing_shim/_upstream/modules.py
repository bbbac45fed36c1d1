"""Torch's own modules: where their sources lie, and the finder that imports those for which this package has no face.

A module such as `torch_testing_shim.common_modules` is the installed torch's, run as a whole under this package's name,
with its imports of `torch.testing._internal` served from this package. Its file is torch's, so tracebacks and `inspect`
show torch's lines. Classes have a name that every process can import, as pickle and spawn need. Imports no torch.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

_SHIM = __package__.partition(".")[0]
#: A module of torch's outside its harness that defines test cases on it, and the name below this package under which it
#: is served. Torch's own imports torch's harness, which starts an accelerator's driver.
DYNAMO_CASES, SERVED_DYNAMO_CASES = "torch._dynamo.test_case", "_upstream.dynamo_test_case"


def install() -> None:
    """Install the finder as the last one, for modules that this package does not have."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def below(package: str) -> Callable[[str], ModuleType]:
    """Return the `__getattr__` of a package: it imports a module of torch's when it is asked for, since files rely on
    others to have imported it."""

    def __getattr__(name: str) -> ModuleType:
        if name.startswith("__") or source_file(f"{package}.{name}"[len(_SHIM) + 1 :]) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return __getattr__


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{_SHIM}."):
            return None
        name = fullname[len(_SHIM) + 1 :]
        source = source_file(name)
        if source is None:
            return None
        spec = ModuleSpec(fullname, _Loader(name, source), origin=str(source), is_package=source.name == "__init__.py")
        spec.has_location = True  # the list of places for submodules stays empty, so that this finder is asked for them
        return spec


class _Loader(InspectLoader):
    def __init__(self, name: str, source: Path) -> None:
        self._name, self._source = name, source

    def get_code(self, fullname: str) -> CodeType:
        from torch_testing_shim._upstream.compiled import module_code  # here, since it imports torch

        return module_code(self._name, self._source)

    def get_source(self, fullname: str) -> str:
        return self._source.read_text(encoding="utf-8")

    def is_package(self, fullname: str) -> bool:
        return self._source.name == "__init__.py"

    def exec_module(self, module: ModuleType) -> None:
        from torch_testing_shim._upstream.driver_questions import asking
        from torch_testing_shim._upstream.graft import served

        with asking():
            super().exec_module(module)
        vars(module).setdefault("__getattr__", served(module.__name__, is_whole=True))


@functools.cache
def _folder() -> Path | None:
    spec = importlib.util.find_spec("torch")
    locations = spec.submodule_search_locations if spec is not None else None
    return Path(locations[0], "testing", "_internal") if locations else None


def source_file(below: str) -> Path | None:
    """Return the file of `torch.testing._internal.<below>`, or of dynamo's test cases; None where torch has none."""
    folder = _folder()
    if folder is None:
        return None
    if below == SERVED_DYNAMO_CASES:
        return folder.parents[1] / "_dynamo" / "test_case.py"
    place = folder.joinpath(*below.split(".")) if below else folder
    candidates = [place / "__init__.py", *([place.with_name(f"{place.name}.py")] if below else [])]
    return next((path for path in candidates if path.is_file()), None)


def home_of(name: str, besides: str) -> str | None:
    """Return the one module other than `besides` that defines `name` at its top level, to which torch has moved it.
    None where there is none, or more than one."""
    folder = _folder()
    if folder is None:
        return None
    definition = re.compile(rf"^(?:(?:async )?def|class) {re.escape(name)}\b|^{re.escape(name)}\s*(?::[^=\n]+)?=", re.M)
    found = [path for path in sorted(folder.rglob("*.py")) if definition.search(path.read_text())]
    homes = [".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for path in found]
    others = [home for home in homes if home != besides]
    return others[0] if len(others) == 1 else None
