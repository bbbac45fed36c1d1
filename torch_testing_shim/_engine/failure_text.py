"""Formats the report of a test that did not pass: the cause first, then what followed from it, then the rest.

Pure text from outcomes; nothing here decides anything.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

from torch_testing_shim._engine.collectives import partings
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, ranks_text
from torch_testing_shim._engine.stacks import OWN_THREAD, frame_in
from torch_testing_shim._engine.verdict import Verdict
from torch_testing_shim._shared.repeated_frames import fold_repeated_frames

_Told = TypeVar("_Told", bound=Hashable)

#: Lines of a rank's output that are shown, from its end.
_TAIL_LINES = 30
#: Kinds of warnings that are shown, the most frequent first, and characters of each.
_WARNING_KINDS, _WARNING_CHARACTERS = 5, 110
#: A thread's id, which differs between two ranks that stand at the same line.
_THREAD_ID = re.compile(r"(?<=hread) 0x[0-9a-f]+(?= )")
#: A thread without frames, as the harness's own is once its frames are left out.
_EMPTY_THREAD = re.compile(r"^(Current t|T)hread .*\(most recent call first\):(\n(?=\n)|\n?\Z)\n?", re.MULTILINE)
#: The signals by which the harness ends a rank.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGKILL)


def failure_report(
    verdict: Verdict, outcomes: Sequence[RankOutcome], *, full_traceback: bool = False, processes_left: int = 0
) -> str:
    """Format the whole report; its first line is the verdict's headline. `full_traceback` keeps the harness's own
    lines in stacks; `processes_left` is the number of processes that the ranks left."""
    cause = verdict.cause
    parted = _parted(cause, outcomes)
    trim = str if full_traceback else trimmed_stacks
    outcomes = [replace(o, stacks=trim(o.stacks), output=_last_lines(trim(o.output))) for o in outcomes]
    sections = [verdict.headline]
    if cause is not None and cause.traceback:
        ranks = {o.rank for o in outcomes if any(_exception(raised) == _exception(cause) for raised in o.raised)}
        sections.append(f"{_whose(ranks | {cause.rank}, cause.subtest)}:\n{cause.traceback}")
    sections.extend(_others(cause, outcomes))
    sections.append(parted)
    sections.extend(_stacks(outcomes))
    sections.extend(_outputs(outcomes))
    sections.extend(_warnings(outcomes))
    sections.append(left_text(processes_left))
    return "\n\n".join(section for section in sections if section)


def output_report(outputs: Sequence[tuple[int, str]]) -> str:
    """Format ranks' output, given as pairs of rank and text, each line prefixed by its rank. Ranks that printed the
    same share one block."""
    blocks = []
    for text, ranks in _grouped(outputs):
        prefix = f"[{ranks_text(ranks)}] "
        blocks.append("\n".join(prefix + line for line in text.splitlines()))
    return "\n".join(blocks)


def left_text(processes: int) -> str:
    """Say how many processes the ranks left; empty where there are none."""
    what = "1 process, which was" if processes == 1 else f"{processes} processes, which were"
    return f"the ranks left {what} ended" if processes else ""


def _exception(outcome: RankOutcome) -> tuple[str, str]:
    """Return a key that is equal for ranks that raised the same in the same subtest."""
    return outcome.subtest, outcome.traceback or outcome.headline


def _whose(ranks: Iterable[int], subtest: str) -> str:
    return ranks_text(list(ranks)) + (f", subtest {subtest}" if subtest else "")


def _others(cause: RankOutcome | None, outcomes: Sequence[RankOutcome]) -> Iterator[str]:
    """Report everything but the cause: exceptions in full, the rest in one line for each rank."""
    told = {_exception(cause)} if cause is not None else set()
    raised = [one for outcome in outcomes for one in outcome.raised if _exception(one) not in told]
    for (subtest, text), ranks in _grouped([(o.rank, _exception(o)) for o in raised if not o.is_collateral]):
        yield f"{_whose(ranks, subtest)}, too:\n{text}"
    lines = []
    lost = list(dict.fromkeys(one.rank for one in raised if one.lost_peer))
    if lost:
        peer = f"rank {cause.rank}" if cause is not None else "another rank"
        lines.append(f"{ranks_text(lost)} lost {'its' if len(lost) == 1 else 'their'} connection to {peer}")
    remarks = [(o.rank, text) for o in outcomes for text in (_crash_after(o), _remark(o, cause)) if text]
    for text, ranks in _grouped(remarks):
        lines.append(f"{ranks_text(ranks)} {text}")
    yield "\n".join(lines)


def _crash_after(outcome: RankOutcome) -> str:
    """Say how a rank that raised then crashed, if it did. The harness's own signals are not a crash."""
    crashed = outcome.exit_code is not None and -outcome.exit_code not in _ENDING_SIGNALS and outcome.exit_code < 0
    return f"then died: {outcome.exit_text}" if crashed and outcome.status.is_exception else ""


def _remark(outcome: RankOutcome, cause: RankOutcome | None) -> str:
    """Say how a rank ended that raised nothing of its own and is not the cause, or whose subtest is the cause; may be
    empty."""
    is_cause = cause is not None and outcome.rank == cause.rank and not cause.status.is_exception
    if is_cause or (outcome.status.is_exception and not outcome.follows_peer):
        return ""
    if outcome.follows_peer:
        return "found nothing wrong in what they hold"
    if outcome.status is RankStatus.DIED:
        return f"died: {outcome.exit_text}"
    if outcome.status.is_hang and not (cause is not None and cause.status.is_exception):
        return ""  # the headline says it
    return _STATUS_TEXTS.get(outcome.status, "")


_STATUS_TEXTS = {
    RankStatus.HUNG: "still ran at the deadline",
    RankStatus.DEADLOCKED: "waited for each other",
    RankStatus.STOPPED: "still ran and had to be stopped",
    RankStatus.PASSED: "passed",
    RankStatus.SKIPPED: "skipped",
}


def _stacks(outcomes: Sequence[RankOutcome]) -> Iterator[str]:
    for text, ranks in _grouped([(o.rank, o.stacks) for o in outcomes if o.stacks]):
        yield f"stacks of {ranks_text(ranks)} when stopped:\n{fold_repeated_frames(text.rstrip())}"

    for text, ranks in _grouped([(o.rank, o.handled_traceback) for o in outcomes if o.handled_traceback]):
        yield f"{ranks_text(ranks)} {'was' if len(ranks) == 1 else 'were'} still handling this when stopped:\n{text}"

    for text, ranks in _grouped([(o.rank, o.native_stacks) for o in outcomes if o.native_stacks]):
        yield f"native stacks of {ranks_text(ranks)}:\n{text}"


def _parted(cause: RankOutcome | None, outcomes: Sequence[RankOutcome]) -> str:
    """Report where the ranks parted. Where a rank has raised, ranks that missed a collective are not named."""
    has_raised = cause is not None and cause.status.is_exception and not cause.is_collateral
    places = {o.rank: o.place for o in outcomes if o.place}
    found = partings({o.rank: o.collectives for o in outcomes})
    lines = [parting.lines(places) for parting in found if parting.is_mismatch or not has_raised]
    return "\n".join(["where the ranks parted:", *lines]) if lines else ""


def _outputs(outcomes: Sequence[RankOutcome]) -> Iterator[str]:
    printed = [(o.rank, o.output) for o in outcomes if o.output]
    if printed:
        yield f"last lines of output:\n{output_report(printed)}"


def _warnings(outcomes: Sequence[RankOutcome]) -> Iterator[str]:
    """Report each kind of warning once, with how often all ranks together gave it."""
    kinds = Counter(_one_line(warning) for outcome in outcomes for warning in outcome.warnings)
    lines = [f"{count:5} x {kind}" for kind, count in kinds.most_common(_WARNING_KINDS)]
    if len(kinds) > _WARNING_KINDS:
        lines.append(f"        and {len(kinds) - _WARNING_KINDS} more kinds")
    if lines:
        yield "\n".join(["warnings of all ranks:", *lines])


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _WARNING_CHARACTERS else f"{joined[: _WARNING_CHARACTERS - 4]} ..."


def _last_lines(output: str) -> str:
    return "\n".join(output.splitlines()[-_TAIL_LINES:])


def trimmed_stacks(text: str) -> str:
    """Leave out the stack lines of pytest and of the harness, its own thread, threads without a line left, and
    all below the rank's entry, which is what the controller was doing when the rank's process was forked from it."""
    kept: list[str] = []
    for is_stack, lines in groupby(text.splitlines(), key=lambda line: frame_in(line) is not None):
        if is_stack:
            kept.extend(_users_lines(lines))
        else:
            kept.extend(_THREAD_ID.sub("", line) for line in lines if not line.startswith("Extension modules: "))
    return _EMPTY_THREAD.sub("", "\n".join(kept)).rstrip("\n")


def _users_lines(stack: Iterable[str]) -> list[str]:
    """Return the lines of one thread's stack that are neither the harness's own nor pytest's, innermost first."""
    kept = []
    for line in stack:
        frame = frame_in(line)
        if frame is None or not (frame.is_harness or frame.is_pytests):
            kept.append(line)
        elif frame.is_pytests:
            continue
        elif frame.is_entry:
            return kept
        elif frame.function == OWN_THREAD:
            return []
    return kept


def _grouped(items: Sequence[tuple[int, _Told]]) -> list[tuple[_Told, list[int]]]:
    """Group items by their text, with the ranks of each, in the order of their first rank."""
    groups: dict[_Told, list[int]] = {}
    for rank, text in items:
        groups.setdefault(text, []).append(rank)
    return list(groups.items())
