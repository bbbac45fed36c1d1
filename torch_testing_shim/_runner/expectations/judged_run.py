"""The expectations of one run: read before it, consulted during it, and compared with all results at its end."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch_testing_shim._shared.atomic_write import write_whole
from torch_testing_shim._shared.expectations import Expectation, Expectations, write_skip_list

from ..cli.options import Options
from ..plan.selection import FileSelection
from ..plan.tree import Tree
from ..result import FileResult, RunSummary
from ..usage_error import UsageError
from .changes import RunContext, changes_after
from .judgement import Judge, RunJudgement
from .reading import installed_torch, is_in_range, parse_expectations, read_text
from .rewriting import check_rewritable, rewritten
from .unmatched import Listed, unmatched_entries

#: The variable that names the skip list of a test file's process.
VARIABLE = "TORCH_TESTING_SHIM_EXPECTATIONS"


def what_is_listed(tree: Tree, selected: Sequence[FileSelection], whole_files: frozenset[str]) -> Listed:
    """The tests that a run of the selected files lists."""
    is_whole = tree.is_whole and {file.name for file in selected} == set(tree.names) == whole_files
    return Listed(tree.names, whole_files, is_whole)


class JudgedRun(RunJudgement):
    """The expectations of a run with `--expectations`."""

    def __init__(self, options: Options, listed: Listed) -> None:
        assert options.expectations is not None
        self._path, self._is_update = options.expectations, options.update_expectations
        self._name = str(self._path)
        self._listed = listed
        today, device = datetime.date.today().isoformat(), options.settings.device or ""
        self._context = RunContext(today, installed_torch() or "", device)
        self._take_text("" if self._is_update and not self._path.exists() else read_text(self._path))
        if self._is_update:
            check_rewritable(self._text, self._name)
        self._variables: dict[str, dict[str, str]] = {}
        self._unjudged: dict[str, FileResult] = {}

    def _take_text(self, text: str) -> None:
        """From now on judge by this text of the file."""
        self._text = text
        self._entries = parse_expectations(text, self._name)
        self._holding = self._those_that_hold(self._entries)
        self._judges: dict[str, Judge] = {}

    def judge_of(self, file: str) -> Judge:
        if file not in self._judges:
            self._judges[file] = Judge(self._holding.for_file(file), self._context.device)
        return self._judges[file]

    def variables(self, file: str, folder: Path) -> dict[str, str]:
        if file not in self._variables:
            path = folder / f"told-{len(self._variables)}.json"
            try:
                has_told = write_skip_list(self.judge_of(file).expected, path)
            except OSError as error:
                raise UsageError(f"cannot tell {file} what to skip: {error}") from error
            self._variables[file] = {VARIABLE: str(path)} if has_told else {}
        return self._variables[file]

    def judge(self, result: FileResult) -> FileResult:
        self._unjudged[result.file] = result
        return self.judge_of(result.file).result(result)

    def conclude(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> tuple[RunSummary, list[str]]:
        unmatched = self._unmatched(summary)
        summary = replace(summary, unmatched=self._sentences(unmatched))
        if not self._is_update:
            return summary, []
        if summary.stopped_by is not None:
            return summary, [f"{self._name} was not updated: the run was stopped"]
        unjudged = [self._unjudged[result.file] for result in summary.files]
        changes = changes_after(self._entries, self._holding, unjudged, unmatched, self._listed, self._context)
        if not changes:
            return summary, [f"{self._name}: nothing to change"]
        try:
            text = rewritten(self._text, self._entries, changes, self._name)
            write_whole(self._path.resolve(), [text])
        except (OSError, UsageError) as error:
            problem = f"{self._name} could not be updated: {error}"
            return replace(summary, unwritten=(*summary.unwritten, problem)), []
        self._take_text(text)
        return self._judged_again(summary, finish), [f"{self._name}: {change}" for change in changes]

    def _judged_again(self, summary: RunSummary, finish: Callable[[FileResult], FileResult]) -> RunSummary:
        files = []
        for result in summary.files:
            judged = self.judge_of(result.file).result(self._unjudged[result.file])
            files.append(result if judged == result else finish(judged))
        summary = replace(summary, files=tuple(files))
        return replace(summary, unmatched=self._sentences(self._unmatched(summary)))

    def _unmatched(self, summary: RunSummary) -> list[Expectation]:
        unjudged = [self._unjudged[result.file] for result in summary.files]
        return unmatched_entries(self._holding.entries, unjudged, self._listed, self._context.device)

    def _sentences(self, unmatched: Sequence[Expectation]) -> tuple[str, ...]:
        return tuple(f"{self._name}: {entry.id} matches no test" for entry in unmatched)

    def _those_that_hold(self, entries: Sequence[Expectation]) -> Expectations:
        version = self._context.torch
        if not version and any(entry.torch for entry in entries):
            raise UsageError(f"{self._name} names versions of torch, and which one is installed cannot be told")
        return Expectations(entry for entry in entries if not entry.torch or is_in_range(version, entry.torch))
