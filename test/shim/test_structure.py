"""The structural rules of the package, read off its source and off a real interpreter.

* Each private folder imports only those that stand above it in the package's map, and no face; `_shared` imports the
  standard library alone.
* Nothing imports `_runner`, and it leaves torch out of `sys.modules`.
* Nothing but `_shared.settings` reads the environment; modules that start a process may prepare the child's, and one
  looks whether tests change it.
* A public package of our own is private modules behind a public `__init__`, and imports no face.
* `torch.testing._internal` is never imported, and nothing is that `install_requires` does not bring.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "torch_testing_shim"

REQUIRED = {"torch", "expecttest", "hypothesis"}
RUNNER_EXTRA = {"rich", "junitparser", "psutil", "argcomplete", "jinja2", "packaging", "tomlkit"}
#: Modules that are imported where pytest runs the tests, and nowhere else.
UNDER_PYTEST = {
    "_program/pytest_journal.py",
    "_program/upstream_pytest.py",
    "_pytest_ranks/beside.py",
    "_pytest_ranks/fixtures.py",
    "_pytest_ranks/groups.py",
    "_pytest_ranks/hooks.py",
    "_pytest_ranks/in_rank.py",
    "_pytest_ranks/joined_item.py",
    "_pytest_ranks/joined_session.py",
    "_pytest_ranks/rank_item.py",
    "_pytest_ranks/rank_reports.py",
    "_pytest_ranks/session_copy.py",
    "pytest_plugin.py",
}
ENVIRONMENT_NAMES = {"environ", "environb", "getenv", "getenvb"}
#: Modules that prepare the environment of a process they start.
PREPARE_A_CHILD = {
    "_engine/new_interpreter.py",
    "_engine/process_state.py",
    "_engine/rank_preparation.py",
    "_program/following.py",
    "_program/joined_run.py",
    "_program/options.py",
    "_runner/cli/under_torchrun.py",
    "_runner/process/start.py",
    "_runner/warm/script.py",
}

#: Modules that look whether a test has changed the environment, and take nothing from it.
COMPARE_IT = {"_engine/parked_group.py", "_isolation/leaks.py"}

#: The private folders, lowest first: each may import those before it.
LAYERS = [
    "_shared",
    "_assertions",
    "_engine",
    "_upstream",
    "_isolation",
    "_skips",
    "_program",
    "_cases",
    "_pytest_ranks",
]
#: Public packages of our own.
PUBLIC_PACKAGES = ["faults", "conformance"]
#: Modules that the warm interpreter itself runs, in which torch is imported.
IN_WARM_INTERPRETER = ["interpreter", "script", "source"]

IMPORT_ALL_OF_RUNNER = f"""
import importlib, pkgutil, sys
import torch_testing_shim._runner as runner

names = [module.name for module in pkgutil.walk_packages(runner.__path__, runner.__name__ + ".")]
for name in names:
    if name.rpartition("._runner.warm.")[2] not in {IN_WARM_INTERPRETER}:
        importlib.import_module(name)
print(len(names), "torch" in sys.modules)
"""


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _is_optional(node: ast.AST) -> bool:
    """True for a block whose imports may fail or are never run: `try/except ImportError`, `if TYPE_CHECKING`."""
    if isinstance(node, ast.Try):
        caught = [ast.unparse(handler.type) for handler in node.handlers if handler.type]
        return any("ImportError" in text or "ModuleNotFoundError" in text for text in caught)
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _import_nodes(tree: ast.AST, with_optional: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif with_optional or not _is_optional(child):
            yield from _import_nodes(child, with_optional)


def imports(source: str, module: str, *, with_optional: bool = True) -> set[str]:
    """Absolute dotted names that `source` imports; `from a import b` counts as `a.b`.

    `module` is the file's path inside the package ("_engine/job.py"): relative imports start there.
    """
    folder = ["torch_testing_shim", *Path(module).parent.parts]
    found = set()
    for node in _import_nodes(ast.parse(source), with_optional):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
            continue
        above = folder[: len(folder) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def environment_reads(source: str) -> list[int]:
    """Line numbers where this process's environment is read: `os.environ`, `os.getenv` or one of their kin.

    Setting a variable is no read, and `environ` of anything but `os` is not this process's.
    """
    tree = ast.parse(source)
    aliases = [a for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names if a.name == "os"]
    names_of_os = {alias.asname or alias.name for alias in aliases}
    set_only = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)}
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            lines.extend(node.lineno for alias in node.names if alias.name in ENVIRONMENT_NAMES)
        elif isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT_NAMES and id(node) not in set_only:
            lines.extend([node.lineno] if isinstance(node.value, ast.Name) and node.value.id in names_of_os else [])
    return lines


def folder_of(name: str) -> str:
    """The first part below the package of a dotted name: a private folder, or the name of a face or a public module."""
    return f"{name}.".split(".")[1]


def allowed_folders(module: str) -> set[str]:
    """The folders that a module of a private folder may import, by the module's path inside the package."""
    folder = module.partition("/")[0]
    if folder == "_runner":
        in_warm = module.startswith("_runner/warm/") and Path(module).stem in IN_WARM_INTERPRETER
        return {"_runner", "_shared", *(LAYERS if in_warm else [])}
    return set(LAYERS[: LAYERS.index(folder) + 1])


def faces_among(names: set[str]) -> list[str]:
    """Those of `names` that lie in a face: a module of the package whose name is upstream's, so without underscore."""
    inside = (name.split(".") for name in names if name.split(".")[0] == "torch_testing_shim")
    return sorted(".".join(parts) for parts in inside if len(parts) == 1 or not parts[1].startswith("_"))


def upstream_among(names: set[str]) -> list[str]:
    return sorted(name for name in names if f"{name}.".startswith("torch.testing._internal."))


def undeclared_among(names: set[str], declared: set[str]) -> list[str]:
    """Those of `names` that neither Python nor the package nor `declared` brings."""
    known = declared | sys.stdlib_module_names | {"tomllib", "torch_testing_shim"}  # Python 3.10 has no tomllib
    return sorted(name for name in names if name.split(".")[0] not in known)


class StructureTest(TestCase):
    def test_every_module_of_runner_leaves_torch_out(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", IMPORT_ALL_OF_RUNNER]
        result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        self.assertEqual("", result.stderr)
        count, has_torch = result.stdout.split()
        self.assertGreater(int(count), 0)
        self.assertEqual("False", has_torch)

    def test_a_private_folder_imports_what_stands_above_it_and_no_face(self) -> None:
        found = {}
        for path in package_files():
            module = relative(path)
            if "/" in module and module.startswith("_"):
                names = {name for name in imports(path.read_text(), module) if name.startswith("torch_testing_shim.")}
                wrong = sorted(name for name in names if folder_of(name) not in allowed_folders(module))
                found.update({module: wrong} if wrong else {})
        self.assertEqual({}, found)
        folders = {path.parent.name for path in PACKAGE.glob("_*/__init__.py")}
        self.assertEqual({*LAYERS, "_runner"}, folders)

    def test_a_public_package_is_private_modules_behind_a_public_init(self) -> None:
        for package in PUBLIC_PACKAGES:
            files = sorted((PACKAGE / package).rglob("*.py"))
            self.assertGreater(len(files), 2)
            public = {path.name for path in files if not path.stem.startswith("_")}
            self.assertEqual(set(), public)
            names = {name for path in files for name in imports(path.read_text(), relative(path))}
            inside = {f"torch_testing_shim.{package}", "torch_testing_shim.faults", "torch_testing_shim.__version__"}
            faces = [name for name in faces_among(names) if not any(f"{name}.".startswith(f"{own}.") for own in inside)]
            self.assertEqual([], faces)

    def test_shared_imports_the_standard_library_alone(self) -> None:
        found = {}
        for path in sorted((PACKAGE / "_shared").rglob("*.py")):
            names = imports(path.read_text(), relative(path))
            found[relative(path)] = undeclared_among(names, set())
        self.assertEqual({}, {path: names for path, names in found.items() if names})

    def test_only_run_test_and_the_runner_import_the_runner(self) -> None:
        others = [path for path in package_files() if not relative(path).startswith("_runner/")]
        self.assertTrue(others)
        found = {relative(path): imports(path.read_text(), relative(path)) for path in others}
        self.assertEqual([], [path for path, names in found.items() if "_runner" in map(folder_of, names)])

    def test_only_settings_reads_the_environment(self) -> None:
        self.assertTrue(environment_reads((PACKAGE / "_shared/settings.py").read_text()))
        found = {relative(path): environment_reads(path.read_text()) for path in package_files()}
        allowed = {"_shared/settings.py", *PREPARE_A_CHILD, *COMPARE_IT}
        self.assertEqual({}, {path: lines for path, lines in found.items() if lines and path not in allowed})

    def test_upstream_harness_is_never_imported(self) -> None:
        found = {relative(path): upstream_among(imports(path.read_text(), relative(path))) for path in package_files()}
        self.assertEqual({}, {path: names for path, names in found.items() if names})

    def test_every_module_stands_in_a_map(self) -> None:
        """The docstrings of the package and of its parts name each module, so that a reader finds it."""
        maps = list(PACKAGE.rglob("__init__.py"))
        named = set(re.findall(r"\w+", " ".join(path.read_text() for path in maps)))
        found = {relative(path): path.stem for path in package_files() if path.stem != "__init__"}
        self.assertEqual({}, {path: stem for path, stem in found.items() if stem not in named})

    def test_imports_need_no_more_than_what_is_declared(self) -> None:
        undeclared = {}
        for path in package_files():
            is_runner = relative(path).startswith("_runner/")
            names = imports(path.read_text(), relative(path), with_optional=False)
            more = {"pytest", "_pytest"} if relative(path) in UNDER_PYTEST else set()
            found = undeclared_among(names, RUNNER_EXTRA if is_runner else REQUIRED | more)
            undeclared.update({relative(path): found} if found else {})
        self.assertEqual({}, undeclared)


class CheckersTest(TestCase):
    """The readers above see what they are to see: without this, a rule could hold because nobody looked."""

    def test_imports_resolve_relative_names_at_any_depth(self) -> None:
        source = "def f():\n    from .. import common_utils\n    from .job import RankJob\nimport os.path as p\n"
        expected = {"torch_testing_shim.common_utils", "torch_testing_shim._engine.job.RankJob", "os.path"}
        self.assertEqual(expected, imports(source, "_engine/launcher.py"))

    def test_a_face_is_found_and_an_underscore_module_is_not(self) -> None:
        names = {
            "torch_testing_shim.common_utils.TestCase",
            "torch_testing_shim._engine.rank_outcomes",
            "torch.distributed",
        }
        self.assertEqual(["torch_testing_shim.common_utils.TestCase"], faces_among(names))

    def test_upstream_is_found_in_each_spelling(self) -> None:
        source = "import torch.testing._internal\nfrom torch.testing import _internal\nimport torch.testing\n"
        self.assertEqual(["torch.testing._internal"], upstream_among(imports(source, "common_utils.py")))

    def test_an_optional_import_is_not_needed_and_a_plain_one_is(self) -> None:
        source = "try:\n    import scipy\nexcept ImportError:\n    scipy = None\ndef f():\n    import numpy\n"
        names = imports(source, "common_utils.py", with_optional=False)
        self.assertEqual(["numpy"], undeclared_among(names, REQUIRED))

    def test_environment_reads_are_found_in_each_spelling(self) -> None:
        source = (
            "import os\nos.getenv('A')\nos.environ['A']\nfrom os import environ\n{**os.environ}\nos.path.join('a')\n"
        )
        self.assertEqual([2, 3, 4, 5], sorted(environment_reads(source)))
        self.assertEqual([2], environment_reads("import os as system\nsystem.environ.get('A')\n"))

    def test_setting_a_variable_or_asking_another_process_is_no_read(self) -> None:
        self.assertEqual([], environment_reads("import os\nos.environ['A'] = 'b'\nprocess.environ()\n"))


if __name__ == "__main__":
    run_tests()
