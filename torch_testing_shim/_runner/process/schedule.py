"""The schedule: which process runs when, and when the run stops.

One loop looks at all running processes in turn; nothing waits for anything. It starts what waits as soon as a job is
free and the budget has room, hands what ended to `retry`, which says what runs next of the file, and folds a file's
processes when none is left.

New files are no longer started after the first file that failed, unless the run is to keep going, after the deadline,
and when the user asks to stop; only the last ends what runs.
"""

from __future__ import annotations

import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch_testing_shim._shared.journal import JournalContents, JournalEntry

from ..cli.options import Options
from ..expectations.nothing_expected import NothingExpected, RunJudgement
from ..history.recorded_durations import Expected
from ..plan.file_facts import read_facts
from ..plan.selection import FileSelection
from ..plan.split import part_count
from ..plan.tree import Tree
from ..report.events import RunReport
from ..result import FileEnding, FileResult, RunSummary
from ..usage_error import UsageError
from .build_command import build_command
from .child_process import reap_strangers
from .command import FileCommand
from .file_life import FileLife
from .file_process import FileProcess, Shown, Watcher
from .rerun_line import RerunLines
from .retry import FinishedRun, RunKind, RunOrder
from .slots import Budget, Lease, slot_count
from .start import Starter
from .start_rules import StartRules
from .stop import StopRequest

__all__ = ["RunPlan", "run_all"]

#: How long the loop waits for something to happen before it goes round again, in seconds.
LOOP_INTERVAL = 0.05


@dataclass(frozen=True)
class RunPlan:
    """What a run is to do.

    Attributes:
        files: what runs, in order; each file once.
        tree: the tree that they lie in.
        options: how to run it.
        expected: what earlier runs tell.
        judged: what is expected of tests, and what their results count as for that.
        finish: what is to be done with a file's result before it is reported, as writing a file about it.
    """

    files: Sequence[FileSelection]
    tree: Tree
    options: Options = field(default_factory=Options)
    expected: Expected = field(default_factory=Expected)
    judged: RunJudgement = field(default_factory=NothingExpected)
    finish: Callable[[FileResult], FileResult] = lambda result: result


def run_all(
    plan: RunPlan, *, scratch: Path, stop: StopRequest, report: RunReport, say: Callable[[str], None]
) -> RunSummary:
    """Runs the files, and reports each as it ends.

    Args:
        scratch: a folder in which every process has one of its own while it runs.
        stop: the user's wish to stop.
        report: told what happens.
        say: prints one line about how files are run.
    """
    starter = Starter(scratch, say, is_cold=plan.options.cold)
    schedule = _Schedule(plan, scratch, stop, report, starter)
    try:
        return schedule.run()
    finally:
        schedule.close()
        starter.close()


@dataclass(frozen=True)
class _Running:
    order: RunOrder
    process: FileProcess
    watcher: Watcher
    lease: Lease


class _Schedule:
    def __init__(self, plan: RunPlan, scratch: Path, stop: StopRequest, report: RunReport, starter: Starter) -> None:
        self._plan, self._options = plan, plan.options
        self._scratch, self._stop, self._report, self._starter = scratch, stop, report, starter
        self._facts = {file.name: read_facts(plan.tree.path(file.name)) for file in plan.files}
        self._files = {file.name: self._life(file) for file in plan.files}
        self._waiting: deque[RunOrder] = deque()
        self._running: list[_Running] = []
        self._started = 0
        self._lines = RerunLines(plan.options, plan.tree)
        self._rules = StartRules(plan.options, plan.expected.seconds)
        self._budget = Budget(slot_count(self._options.jobs, _core_count()))

    def _life(self, file: FileSelection) -> FileLife:
        parts = 1
        if self._options.jobs > 1 and self._facts[file.name].imports_torch:
            names = [one.name for one in self._plan.files]
            parts = part_count(file.name, names, self._plan.expected.seconds, self._options.jobs)
        seconds = self._plan.expected.tests.get(file.name)
        return FileLife(file, self._options, parts, seconds, self._plan.judged.judge_of(file.name))

    def run(self) -> RunSummary:
        self._report.run_started(tuple(self._files))
        for file in self._files.values():
            self._waiting.extend(file.begin())
        self._budget = Budget(slot_count(self._options.jobs, _core_count()), self._count_devices())
        while self._running or self._waiting:
            self._drop_what_may_not_start()
            self._start_what_fits()
            has_room = self._look_at_what_runs()
            if not self._starter.is_starting:
                reap_strangers(self._starter.own_pids | {one.process.pid for one in self._running})
            if not has_room:
                self._wait()
        return RunSummary(
            files=tuple(file.result for file in self._files.values() if file.result is not None),
            not_run=tuple(name for name, file in self._files.items() if file.result is None),
            stopped_by=self._stop.signal,
            deadline=self._options.deadline if self._rules.is_late else None,
        )

    def close(self) -> None:
        """Kills what still runs, for the case that `run` did not come to its end."""
        for one in self._running:
            one.process.close()

    def _count_devices(self) -> int:
        """How many accelerators are to be leased: none where files run one after the other, or share them."""
        some_use_torch = any(facts.imports_torch for facts in self._facts.values())
        is_alone = self._options.jobs == 1 or len(self._files) == 1
        settings = self._options.settings
        if is_alone or settings.share_devices or settings.device == "cpu" or not some_use_torch:
            return 0
        counting = self._starter.count_devices(self._command(self._plan.files[0]))
        while self._stop.signal is None:
            try:
                next(counting)
            except StopIteration as end:
                return int(end.value)
            time.sleep(LOOP_INTERVAL)
        return 0

    def _drop_what_may_not_start(self) -> None:
        for order in tuple(self._waiting):
            file = self._files[order.selection.name]
            if self._rules.forbid(order, file, is_stopped=self._stop.signal is not None):
                self._waiting.remove(order)
                file.drop(order)
                self._end_if_over(file)

    def _start_what_fits(self) -> None:
        """Starts what has room, first come first served; what is small may overtake what is large."""
        for order in tuple(self._waiting):
            if len(self._running) >= self._options.jobs:
                return
            name = order.selection.name
            lease = self._budget.take(self._ranks(name), uses_devices=self._facts[name].imports_torch)
            if lease is not None:
                is_warm = self._is_worth_warm(order)
                self._waiting.remove(order)
                self._start(order, lease, is_warm)

    def _ranks(self, name: str) -> int:
        """How many ranks the file has at once: as recorded, or as its source tells."""
        recorded = self._plan.expected.ranks.get(name)
        return max(1, self._facts[name].ranks if recorded is None else recorded, self._options.settings.world_size or 1)

    def _is_worth_warm(self, order: RunOrder) -> bool:
        """True where several processes of this run import torch, so that one import can serve them."""
        if not self._facts[order.selection.name].imports_torch:
            return False
        waiting = sum(self._facts[one.selection.name].imports_torch for one in self._waiting)
        return waiting > 1 or self._starter.is_warm or order.kind is RunKind.NAMES or self._options.repeat != 1

    def _start(self, order: RunOrder, lease: Lease, is_warm: bool) -> None:
        name = order.selection.name
        self._files[name].has_started = True
        self._started += 1
        command = self._command(order.selection)
        command = command.names_only if order.kind is RunKind.NAMES else command
        command = command.setting({**lease.variables, **self._plan.judged.variables(name, self._scratch)})
        allowed = self._options.timeout
        watcher = self._report.process_started(name, str(order))
        process = FileProcess(
            command,
            self._scratch / str(self._started),
            self._starter,
            watcher,
            self._shown(name),
            seconds=None if allowed is None else max(0.0, allowed - order.seconds_used),
            is_warm=is_warm,
        )
        self._running.append(_Running(order, process, watcher, lease))

    def _command(self, selection: FileSelection) -> FileCommand:
        return build_command(selection, self._options, self._plan.tree)

    def _shown(self, name: str) -> Shown:
        """Results of a file's tests are shown as they come with their lines, and as they are judged."""
        judge = self._plan.judged.judge_of(name)

        def shown(entry: JournalEntry, device: str) -> JournalEntry:
            return judge.entry(self._lines.in_entry(entry, name), device)

        return shown

    def _wait(self) -> None:
        """Waits until a process has ended or started; not for long, since other things are not told by descriptors."""
        with selectors.DefaultSelector() as selector:
            for descriptor in {descriptor for one in self._running for descriptor in one.process.descriptors}:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(LOOP_INTERVAL)

    def _look_at_what_runs(self) -> bool:
        """Looks at each process; True where one has ended."""
        running = tuple(self._running)
        for one in running:
            run = self._step(one)
            if run is not None:
                self._running.remove(one)
                self._budget.give_back(one.lease)
                self._report.process_ended(one.watcher)
                file = self._files[run.order.selection.name]
                self._waiting.extendleft(reversed(file.take(run)))
                self._end_if_over(file)
        return len(self._running) < len(running)

    def _step(self, one: _Running) -> FinishedRun | None:
        """Looks at a process; None while it runs."""
        try:
            if not one.process.step(is_to_stop=self._stop.signal is not None):
                return None
        except UsageError as error:  # it could not be started; the other files may fare better
            ending = FileEnding(one.order.selection.name, 1, output_tail=str(error))
            return FinishedRun(one.order, ending, JournalContents())
        assert one.process.ending is not None, "a process that has ended has an ending"
        return FinishedRun(one.order, one.process.ending, one.process.journal)

    def _end_if_over(self, file: FileLife) -> None:
        """Reports a file when nothing of it is left, or has it run once more."""
        if not file.is_between:
            return
        if file.is_to_repeat:
            self._waiting.extend(file.begin())
            return
        result = file.end()
        if result is not None:
            lined = self._lines.in_result(result)
            file.result = self._plan.finish(self._plan.judged.judge(lined))
            self._rules.has_failed = self._rules.has_failed or bool(file.result.failed)
            self._report.file_ended(file.result)


def _core_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
