"""pytest's hooks for tests marked by `ranks`. Imports no torch before such a test has been collected."""

from __future__ import annotations

import functools
import sys
import unittest
from collections.abc import Generator
from typing import Any

import pytest

from torch_testing_shim._pytest_ranks.beside import check_terminal, leave_ranks_out_of_pdb, note_time_limit
from torch_testing_shim._pytest_ranks.marks import DESCRIPTION, NAME, MarkError, RanksMark, read_mark
from torch_testing_shim._pytest_ranks.summary import note_lines, tell_of_ranks
from torch_testing_shim._shared.settings import SETTINGS, changed_environment, read_launch


def pytest_addoption(parser: Any) -> None:
    group = parser.getgroup("torch_testing_shim")
    group.addoption(
        "--ranks-pdb",
        type=int,
        metavar="RANK",
        help="debug this rank of tests marked by ranks, on this terminal, where it raises or calls breakpoint()",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", DESCRIPTION)
    check_terminal(config.getoption("ranks_pdb"))
    leave_ranks_out_of_pdb(config)
    if config.getoption("capture", "no") == "no":
        shown = changed_environment({SETTINGS["show_output"].variable: "1"})  # of test cases, when their ranks are done
        shown.__enter__()
        config.add_cleanup(lambda: shown.__exit__(None, None, None))


def pytest_generate_tests(metafunc: Any) -> None:
    """Make a test for each number of ranks, where the mark has a list of them."""
    mark = metafunc.definition.get_closest_marker(NAME)
    if mark is None or len(mark.args) != 1 or not isinstance(mark.args[0], list | tuple | range):
        return
    if "world_size" not in metafunc.fixturenames:
        metafunc.fixturenames.append("world_size")
    metafunc.parametrize("world_size", mark.args[0], indirect=True, ids=lambda count: f"ranks={count}")


@pytest.hookimpl(trylast=True)  # a conftest may add marks
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Have marked tests run on ranks."""
    for item in items:
        mark = item.get_closest_marker(NAME) if isinstance(item, pytest.Function) else None
        if mark is None or _starts_ranks_itself(item):
            continue
        try:
            read = read_mark(mark.args, mark.kwargs)
            if item.cls is not None and issubclass(item.cls, unittest.TestCase):
                read.check_for_unittest()
            _run_on_ranks(item, read)
        except MarkError as error:
            _refuse(item, f"{item.nodeid}: {error}")


def _refuse(item: Any, message: str) -> None:
    """End the run with a message; in a worker of pytest-xdist, which cannot, end the test with it."""
    if not hasattr(item.config, "workerinput"):
        raise pytest.UsageError(message)
    item.setup = functools.partial(pytest.fail, message, pytrace=False)


def _starts_ranks_itself(item: Any) -> bool:
    """Whether it is a method of this harness's test cases with ranks."""
    body = sys.modules.get("torch_testing_shim._cases.body")  # not imported: without it, there is no such class
    return body is not None and item.cls is not None and issubclass(item.cls, body.RankTestCase)


def _run_on_ranks(item: Any, mark: RanksMark) -> None:
    from torch_testing_shim._pytest_ranks.in_rank import HERE  # here, since it imports torch

    if HERE.is_copy:
        return
    callspec = getattr(item, "callspec", None)
    count = callspec.params.get("world_size") if callspec is not None else None
    if len(mark.counts) > 1 and count not in mark.counts:
        raise MarkError(
            f"ranks({list(mark.counts)}): a mark of a parameter, or one that is added later, takes one number of ranks"
        )
    ranks = _kind_of(mark)(item, mark, mark.counts[0] if len(mark.counts) == 1 else count)
    item.ranks, item.setup, item.runtest, item.teardown = ranks, ranks.set_up, ranks.run, _nothing


def _kind_of(mark: RanksMark) -> Any:
    """Return the class of objects that run such tests."""
    if mark.threads:
        from torch_testing_shim._pytest_ranks.thread_item import ThreadItem

        return ThreadItem
    if read_launch() is not None:
        from torch_testing_shim._pytest_ranks.joined_item import JoinedItem

        return JoinedItem
    from torch_testing_shim._pytest_ranks.rank_item import RankItem

    return RankItem


def _nothing() -> None:
    """Stands for an item's `teardown`, where its `setup` has not run."""


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: Any, settings: Any) -> None:
    """pytest-timeout's hook."""
    if getattr(item, "ranks", None) is not None:
        note_time_limit(item, settings)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: Any) -> None:
    """Fork the zygote, before any test has run."""
    if any(getattr(item, "ranks", None) is not None for item in session.items) and not _starts_no_ranks(session.config):
        from torch_testing_shim._pytest_ranks.rank_item import start_session

        start_session(session)


def _starts_no_ranks(config: Any) -> bool:
    return bool(config.option.collectonly or config.getoption("numprocesses", None) or read_launch())


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> None:
    """End ranks that were kept, after the last test of a module."""
    if getattr(item, "ranks", None) is not None and getattr(nextitem, "module", None) is not item.module:
        from torch_testing_shim._pytest_ranks.rank_item import leave_module

        leave_module()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what was noted on tests."""
    lines = note_lines(one for reports in terminalreporter.stats.values() for one in reports)
    if lines:
        terminalreporter.section("notes on ranks")
        terminalreporter.write_line("\n".join(lines))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, None]:
    made = yield
    tell_of_ranks(item, call, made.get_result())
