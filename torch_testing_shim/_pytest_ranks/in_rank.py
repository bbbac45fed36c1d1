"""A rank that runs one of pytest's tests: pytest's protocol for one item, with every hook of its phases.

A forked rank has pytest's session as it was when the zygote was forked; a spawned one makes a session of its own. The
rank first lets go of what is pytest's process's: its captured output, its temporary folder, the ends of its fixtures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from torch_testing_shim._cases.world import leave_group_at_end
from torch_testing_shim._engine.channel import THIS_RANK
from torch_testing_shim._engine.job import RankJob, ScratchFolder
from torch_testing_shim._engine.rank_steps import ends_forked_children
from torch_testing_shim._isolation.torch_state import set_rng_seed
from torch_testing_shim._pytest_ranks.beside import take_terminal
from torch_testing_shim._pytest_ranks.rank_coverage import save_coverage
from torch_testing_shim._pytest_ranks.rank_reports import RankReports
from torch_testing_shim._pytest_ranks.session_copy import SessionCopy
from torch_testing_shim._pytest_ranks.shared_fixtures import shared_values

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


@dataclass(frozen=True)
class World:
    """The ranks of the test that runs, as fixtures know them."""

    rank: int  # this rank
    world_size: int  # how many there are
    rendezvous: str  # path of the file that their process group meets in
    seconds: float  # that they may take
    backend: str | None  # of their process group, by the test's mark; None for the device's own
    shared_folder: str | None  # a folder for all ranks; None where the test has asked for none


class SoFar(Protocol):
    """How a rank's test has gone so far."""

    @property
    def has_failed(self) -> bool: ...

    @property
    def has_skipped(self) -> bool: ...


class Here:
    """pytest in this process."""

    def __init__(self) -> None:
        self.session: Any = None  # the session whose tests run; None before one has been collected
        self.world: World | None = None  # in a rank, its world
        self.reports: SoFar | None = None  # in a rank, how its test has gone so far
        self.kept: object = None  # in a rank, objects of pytest's process that must not be finalized
        self.is_copy = False  # the session is a copy for ranks, so that no test of it starts ranks


HERE = Here()
_COPY = SessionCopy()


class PytestRank:
    """The class of `RankJob`s whose test is pytest's."""

    @classmethod
    def _prepare_server(cls, job: RankJob) -> None:
        """Collect the test in a fork server, so that ranks are forked with it."""
        _item(job.folder, job.method)

    @classmethod
    def _rank_keeper(cls, job: RankJob) -> Any:
        """Return the object that puts back, in a rank which is reused, what each test has changed."""
        from torch_testing_shim._cases.rank_keeper import RankKeeper  # here, since most ranks need none

        item = _item(job.folder, job.method)
        return RankKeeper([], Path(job.lasting_folder), shared_values(item.session))

    @classmethod
    def _run(cls, rank: int, nodeid: str, rendezvous: str, pipe: object, **given: Any) -> None:
        """Run the test of this node id; the arguments are `RankItem`'s."""
        channel = THIS_RANK.channel
        assert channel is not None, "tests are run in ranks"
        HERE.world = World(
            rank, given["world_size"], rendezvous, given["seconds"], given["backend"], given["shared_folder"]
        )
        folder = ScratchFolder(Path(rendezvous).parent)
        item = _item(folder, nodeid)
        reports = HERE.reports = RankReports(rank, channel, folder.warnings(rank), is_copy=HERE.is_copy)
        _let_go(item, rank, given["base_folder"])
        if rank == given["has_terminal"]:
            take_terminal()
        else:
            _drop_pdb(item.config)
        # By pluggy's method: pytest's looks for fixtures in each plugin, and takes milliseconds.
        super(pytest.PytestPluginManager, item.config.pluginmanager).register(reports)  # type: ignore[misc]
        set_rng_seed()
        with ends_forked_children():
            try:
                _run_protocol(item, reports)
            except pytest.exit.Exception as error:
                raise error.with_traceback(None) from None  # it is all pytest's
            finally:
                item.config.pluginmanager.unregister(reports)
        save_coverage()
        outcome = reports.end()
        if not outcome.status.is_bad:
            channel.await_others()
        if outcome.exit_code:
            raise SystemExit(outcome.exit_code)
        leave_group_at_end()


def _run_protocol(item: Any, reports: RankReports) -> None:
    """Run a test by pytest's hook for it. Its own wrappers prepare the test: filters of warnings, explanations of
    assertions. Plugins that fork or repeat a test, or that keep something for its time, do so around all ranks."""
    manager = item.config.pluginmanager
    implementations = manager.hook.pytest_runtest_protocol.get_hookimpls()
    kept = [reports, *(one.plugin for one in implementations if _is_pytests_own(one.plugin))]
    left_out = [one.plugin for one in implementations if one.plugin not in kept]
    manager.subset_hook_caller("pytest_runtest_protocol", left_out)(item=item, nextitem=None)


def _is_pytests_own(plugin: object) -> bool:
    return str(getattr(plugin, "__name__", type(plugin).__module__)).startswith("_pytest.")


def _item(scratch: ScratchFolder, nodeid: str) -> Any:
    """Return the item of this node id, of this process's session or of one that is made here. Raise LookupError where
    the latter has no such test."""
    if HERE.session is None:
        HERE.is_copy = True
        return _COPY.item(scratch, nodeid)
    return next(item for item in HERE.session.items if item.nodeid == nodeid)


def _let_go(item: Any, rank: int, base_folder: str | None) -> None:
    """Make the session this rank's: what the test does and ends here is nothing to pytest's process."""
    for name in ("ranks", "setup", "runtest", "teardown"):  # those of `RankItem`; by `ranks`, `NoPdbForRanks` tells
        vars(item).pop(name, None)
    item._report_sections.clear()
    item._initrequest()
    chain = item.listchain()[:-1]
    stack = item.session._setupstate.stack
    for node in list(stack):
        if node in chain:
            stack[node][0].clear()  # its fixtures are ended in pytest's process
        else:
            del stack[node]
    _let_output_go(item.config)
    _show_no_subtests(item.config.pluginmanager)
    if base_folder is not None:
        folder = Path(base_folder) / f"rank{rank}"
        folder.mkdir(mode=0o700, exist_ok=True)
        item.config._tmp_path_factory._basetemp = folder


def _show_no_subtests(manager: Any) -> None:
    """Have pytest's terminal show no letter for a subtest, whose report is made of this rank's output."""
    hook, terminal = manager.hook.pytest_runtest_logreport, manager.getplugin("terminalreporter")
    if any(one.plugin is terminal for one in hook.get_hookimpls()):
        hook._remove_plugin(terminal)


def _drop_pdb(config: Any) -> None:
    config.option.usepdb = False
    pdb = config.pluginmanager.getplugin("pdbinvoke")
    if pdb is not None:
        config.pluginmanager.unregister(pdb)


def _let_output_go(config: Any) -> None:
    """Have pytest capture nothing but what `capsys` and its like ask for: a rank's output has a file of its own, which
    also has what was printed before a crash."""
    manager = config.pluginmanager.getplugin("capturemanager")
    if manager is not None and HERE.kept is None:
        HERE.kept = manager._global_capturing  # not stopped: that would write to pytest's own output
        manager._method = "no"
        manager._global_capturing = None
        manager._capture_fixture = None
        manager.start_global_capturing()
