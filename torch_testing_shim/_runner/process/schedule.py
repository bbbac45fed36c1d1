"""The schedule: which process runs when, and when the run stops.

One loop steps all running processes in turn and waits for none of them. It starts waiting orders as soon as a job is
free and the budget has room, hands each process that has ended to the life of its file, which orders the processes that
follow, and folds a file's processes when none is left.

No new file starts after the first file that failed, unless the run keeps going, after the deadline, or once the user
asks to stop. Only the user's wish ends running processes.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch_testing_shim._shared.cores import core_count
from torch_testing_shim._shared.journal import JournalContents, JournalEntry
from torch_testing_shim._shared.launch import PART_VARIABLE
from torch_testing_shim._shared.settings import read_launch

from ..cli.options import Options
from ..expectations.judgement import RunJudgement
from ..history.times import Times
from ..plan.file_facts import read_facts
from ..plan.selection import FileSelection
from ..plan.sharding import part_count
from ..plan.tree import Tree
from ..report.progress import RunningProcess
from ..report.session import Display
from ..result import FileEnding, FileResult, RunSummary
from ..usage_error import UsageError
from .build_command import RerunLines, build_command
from .child_process import reap_orphans
from .command import FileCommand
from .file_life import FileLife
from .file_process import FileProcess, Shown
from .retry import FinishedRun, RunKind, RunOrder
from .slots import Budget, Lease, StartRules, slot_count
from .start import Starter
from .stop import StopRequest

#: The longest wait of the loop between two rounds, in seconds.
LOOP_INTERVAL = 0.05


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run."""

    files: Sequence[FileSelection]  # the files that run, in order; each file once
    tree: Tree
    options: Options = field(default_factory=Options)
    times: Times = field(default_factory=Times)  # durations and ranks of earlier runs
    judged: RunJudgement = field(default_factory=RunJudgement)
    #: Gets a file's result before it is reported, to write a report about it, and returns it.
    finish: Callable[[FileResult], FileResult] = lambda result: result


def run_all(
    plan: RunPlan, *, scratch: Path, stop: StopRequest, report: Display, say: Callable[[str], None]
) -> RunSummary:
    """Run the files, and report each as it ends.

    Args:
        scratch: a folder in which every process has one of its own while it runs.
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
    watcher: RunningProcess
    lease: Lease


class _Schedule:
    def __init__(self, plan: RunPlan, scratch: Path, stop: StopRequest, report: Display, starter: Starter) -> None:
        self._plan, self._options = plan, plan.options
        self._scratch, self._stop, self._report, self._starter = scratch, stop, report, starter
        self._expected = plan.times.expected(plan.files)
        self._facts = {file.name: read_facts(plan.tree.path(file.name)) for file in plan.files}
        self._files = {file.name: self._life(file) for file in plan.files}
        self._waiting: deque[RunOrder] = deque()
        self._running: list[_Running] = []
        self._started = 0
        self._lines = RerunLines(plan.options, plan.tree)
        self._rules = StartRules(plan.options, self._expected)
        self._budget = Budget(slot_count(self._options.jobs, core_count()))

    def _life(self, file: FileSelection) -> FileLife:
        parts = 1
        if self._options.jobs > 1 and self._facts[file.name].imports_torch:
            names = [one.name for one in self._plan.files]
            parts = part_count(file.name, names, self._expected, self._options.jobs)
        seconds = {name: test.seconds for name, test in self._plan.times.of_file(file.name).tests.items()}
        return FileLife(file, self._options, parts, seconds, self._plan.judged.judge_of(file.name))

    def run(self) -> RunSummary:
        self._report.run_started(tuple(self._files))
        for file in self._files.values():
            self._waiting.extend(file.begin())
        self._budget = Budget(slot_count(self._options.jobs, core_count()), self._count_devices())
        while self._running or self._waiting:
            self._drop_what_may_not_start()
            self._start_what_fits()
            has_room = self._look_at_what_runs()
            if not self._starter.is_starting:
                reap_orphans(self._starter.own_pids | {one.process.pid for one in self._running})
            if not has_room:
                self._wait()
        return RunSummary(
            files=tuple(file.result for file in self._files.values() if file.result is not None),
            not_run=tuple(name for name, file in self._files.items() if file.result is None),
            stopped_by=self._stop.signal,
            deadline=self._options.deadline if self._rules.is_late else None,
        )

    def close(self) -> None:
        """Kill the processes that still run, where `run` breaks off."""
        for one in self._running:
            one.process.close()

    def _count_devices(self) -> int:
        """The number of accelerators to lease: none where files run one after the other, or share them."""
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
        """Start the orders that have room, in their order; a small file may overtake a large one."""
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
        """The most ranks that the file has at once: as recorded, or by its source."""
        recorded = self._plan.times.of_file(name)
        ranks = recorded.ranks if recorded.tests else self._facts[name].ranks
        return max(1, ranks, self._options.settings.world_size or 1)

    def _is_worth_warm(self, order: RunOrder) -> bool:
        """True where several processes of this run import torch, so that one import can serve them."""
        if not self._facts[order.selection.name].imports_torch:
            return False
        waiting = sum(self._facts[one.selection.name].imports_torch for one in self._waiting)
        return waiting > 1 or self._starter.is_warm or order.kind is RunKind.DISCOVER or self._options.repeat != 1

    def _start(self, order: RunOrder, lease: Lease, is_warm: bool) -> None:
        name = order.selection.name
        self._files[name].has_started = True
        self._started += 1
        command = self._command(order.selection)
        command = command.names_only if order.kind is RunKind.DISCOVER else command
        command = command.setting({**lease.variables, **self._plan.judged.variables(name, self._scratch)})
        if (launch := read_launch()) is not None:
            command = command.setting({PART_VARIABLE: f"{launch.part}/{self._started}"})
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
        """Judge the results of a file's tests as they come, and add their rerun lines."""
        judge = self._plan.judged.judge_of(name)

        def shown(entry: JournalEntry, device: str) -> JournalEntry:
            return judge.entry(self._lines.in_entry(entry, name), device)

        return shown

    def _wait(self) -> None:
        """Wait until a process has ended or started; not for long, since descriptors do not tell everything."""
        with selectors.DefaultSelector() as selector:
            for descriptor in {descriptor for one in self._running for descriptor in one.process.descriptors}:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(LOOP_INTERVAL)

    def _look_at_what_runs(self) -> bool:
        """Step each process; return True where one has ended."""
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
        """Step a process; return None while it runs."""
        try:
            if not one.process.step(is_to_stop=self._stop.signal is not None):
                return None
        except UsageError as error:  # it could not be started; the other files may fare better
            ending = FileEnding(one.order.selection.name, 1, output_tail=str(error))
            return FinishedRun(one.order, ending, JournalContents())
        assert one.process.ending is not None, "a process that has ended has an ending"
        return FinishedRun(one.order, one.process.ending, one.process.journal)

    def _end_if_over(self, file: FileLife) -> None:
        """Report a file when none of its processes is left, or run it once more."""
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
