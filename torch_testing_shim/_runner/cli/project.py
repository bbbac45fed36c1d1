"""The project that a run belongs to: its folder, where its test files lie, and where reports about them go."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._shared.settings import read_cache_folder

from ..plan.tree import Tree
from ..usage_error import UsageError
from .options import Options
from .project_table import FILE


def paths_among(requests: Iterable[str]) -> list[Path]:
    """The files and folders that requests name by a path from the working folder."""
    return [working_folder() / text for text in (one.partition("::")[0] for one in requests) if os.path.exists(text)]


def find_project(paths: Iterable[Path]) -> Path:
    """The folder of the nearest pyproject.toml, at or above the files and folders of a run, or else the working folder;
    where there is none, that folder itself."""
    start = _common(paths) or working_folder()
    return next((folder for folder in (start, *start.parents) if (folder / FILE).is_file()), start)


def tree_of(project: Path, options: Options, paths: Iterable[Path], default: Path | None = None) -> Tree:
    """The tree of a run.

    Args:
        paths: the files and folders that the user names. Where they lie outside the root, they choose another.
        default: the root where the options name none; None for what `paths` have in common, or else the project.
    """
    common = _common(paths)
    root = options.root.absolute() if options.root is not None else default or common or project
    if common is not None and not common.is_relative_to(os.path.realpath(root)):
        root = common
    tree = Tree.of_repository(project, root)
    return replace(tree, patterns=options.patterns or tree.patterns, excluded=options.exclude_folders)


def with_writable_reports(tree: Tree, *, only_shows: bool) -> tuple[Tree, list[str]]:
    """The tree, with another folder for reports where its own cannot be written, and a sentence that says so; no folder
    is made and nothing is said for a run that `only_shows`."""
    if _can_be_written(tree.reports):
        return tree, []
    name = f"{tree.root.name}-{zlib.crc32(os.fsencode(tree.reports)):08x}"
    caches = read_cache_folder()
    reports = tree.reports if caches is None else Path(caches, "torch_testing_shim", "reports", name)
    if only_shows:
        return replace(tree, reports=reports), []
    if not _can_be_written(reports):
        reports = Path(tempfile.mkdtemp(prefix="torch_testing_shim-reports-"))
    note = f"cannot write into {str(tree.reports)!r}: reports and recorded times are in {str(reports)!r}"
    return replace(tree, reports=reports), [note]


def _common(paths: Iterable[Path]) -> Path | None:
    real = [Path(os.path.realpath(path)) for path in paths]
    return Path(os.path.commonpath([one if one.is_dir() else one.parent for one in real])) if real else None


def working_folder() -> Path:
    """The folder that the user is in."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the folder that you are in is not there any more") from error


def _can_be_written(folder: Path) -> bool:
    """True for a folder that may be written, or made."""
    while not os.path.exists(folder):
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
