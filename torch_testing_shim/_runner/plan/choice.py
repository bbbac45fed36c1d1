"""The choice: from the options to the files that run, in their order.

names on disk > include, exclude > distributed > failed before > first, last > shard > order
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ..cli.options import Options
from ..cli.project import working_folder
from ..history.failed_tests import read_failed_list, tests_by_file
from ..history.times import Times
from ..history.tree_history import History
from .request import Place, Request, read_all
from .selection import FileSelection, begin_at, bring_to_front, end_with, only_distributed, restrict, select
from .sharding import take_shard
from .tree import Tree


def choose(options: Options, tree: Tree, history: History) -> tuple[tuple[FileSelection, ...], list[str]]:
    """Return the files that a command line chooses, and note for the user about the choice."""
    place = Place(test_folder=str(tree.tests.resolve()), working_folder=str(working_folder()))
    include, exclude, front, first, last, failed_from = _read_requests(options, tree.names, place)
    selected = select(tree.names, include, exclude)
    if options.distributed is not None:
        selected = only_distributed(selected, wanted=options.distributed)
    if options.failed_from is not None:
        selected = restrict(selected, _tests_of(failed_from))
    notes = [history.unread] if history.unread and (options.last_failed or options.failed_first) else []
    if options.last_failed:
        failed = restrict(selected, tests_by_file(history.failed))
        if not failed:
            notes.append("nothing of this failed the last time; all of it is selected")
        selected = failed or selected
    for request in first:
        selected = begin_at(selected, request)
    for request in last:
        selected = end_with(selected, request)
    return _ordered(_shard(selected, options, history.times), front, options, history.failed), notes


def _read_requests(options: Options, names: Sequence[str], place: Place) -> list[list[Request]]:
    """The requests of each option that has any, all of them read before one is used, so that each mistake is told."""
    groups: list[Sequence[str]] = [
        options.include,
        options.exclude,
        options.bring_to_front,
        [] if options.first is None else [options.first],
        [] if options.last is None else [options.last],
        [] if options.failed_from is None else read_failed_list(options.failed_from),
    ]
    read = iter(read_all((_without_links(text) for group in groups for text in group), names, place))
    return [[next(read) for _ in group] for group in groups]


def _without_links(text: str) -> str:
    """An absolute path without symbolic links, as requests are compared; anything else as it is."""
    return os.path.realpath(text) if os.path.isabs(text) else text


def _tests_of(requests: Iterable[Request]) -> dict[str, tuple[str, ...]]:
    lines = (f"{name}::{request.test}" if request.test else name for request in requests for name in request.files)
    return tests_by_file(lines)


def _shard(selected: tuple[FileSelection, ...], options: Options, times: Times) -> tuple[FileSelection, ...]:
    """This shard's part, in the order of the selection, on which a plan of shards does not depend."""
    if options.shard is None:
        return selected
    mine = set(take_shard(selected, options.shard, times.expected(selected)))
    return tuple(file for file in selected if file in mine)


def _ordered(
    selected: tuple[FileSelection, ...], front: Iterable[Request], options: Options, known: Sequence[str]
) -> tuple[FileSelection, ...]:
    """Put files that failed before first, and files that are brought to the front before these."""
    failed = tests_by_file(known) if options.failed_first else {}
    in_front = [name for request in front for name in request.files]
    failed_here = [file.name for file in selected if file.name in failed]
    return bring_to_front(selected, list(dict.fromkeys([*in_front, *failed_here])))
