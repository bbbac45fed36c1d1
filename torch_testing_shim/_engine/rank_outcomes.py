"""Makes a rank's outcome of how its test ended: by an exception, with a skip, or well.

A skip is an exception of unittest's or pytest's, or one of upstream's exit codes, which tests pass to `sys.exit`.
"""

from __future__ import annotations

import sys
import traceback
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import monotonic  # the function itself: a test may have replaced `time`'s
from types import TracebackType
from typing import NamedTuple

from torch_testing_shim._engine.outcome import (
    CollectiveMismatchError,
    PeerFailedError,
    RankOutcome,
    RankStatus,
    says_lost_peer,
)
from torch_testing_shim._shared.exit_status import exit_code_of
from torch_testing_shim._shared.repeated_frames import fold_repeated_frames
from torch_testing_shim._shared.settings import Settings, SettingsError, read_settings

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks

#: Exit code of a rank whose test raised an exception (upstream's, torch 2.13).
TEST_ERROR_EXIT_CODE = 10
#: Characters that are kept of a traceback, cut in the middle: nobody reads more, and the controller has to hold it.
_TRACEBACK_CHARACTERS = 200_000
#: Characters that are kept of a headline and of a skip's reason.
_HEADLINE_CHARACTERS = 1000
#: The first line of a traceback.
_TRACEBACK = "Traceback (most recent call last)"
#: How many exceptions behind another are looked at.
_ORIGINS = 100


def outcome_of_exception(rank: int, error: BaseException, failure: type[BaseException] = AssertionError) -> RankOutcome:
    """Return the outcome of a rank whose test raised `error`. Only its text is kept: it need not be
    picklable. `failure` is the exception type that means "an assertion did not hold" (`unittest`'s
    `failureException`)."""
    is_failure = isinstance(error, failure) or _is_pytests(error, "Failed")
    status = RankStatus.FAILED if is_failure else RankStatus.ERRORED
    text = _text_of(error)
    if len(text) > _TRACEBACK_CHARACTERS:
        half = _TRACEBACK_CHARACTERS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    headline = _headline_of(error)
    parted = says_lost_peer(headline) or isinstance(error, CollectiveMismatchError)
    return RankOutcome(
        rank,
        status,
        monotonic(),
        headline=headline,
        handled=_handled_before(error) if parted else "",
        traceback=text,
        exit_code=TEST_ERROR_EXIT_CODE,
        follows_peer=isinstance(error, PeerFailedError),
        wraps_lost_peer=any(says_lost_peer(_message_of(origin)[:_TRACEBACK_CHARACTERS]) for origin in _origins(error)),
    )


def handled_by(thread: int | None) -> tuple[str, str]:
    """Return headline and traceback of the exception that a thread, given by its ident, is handling, as in a `finally`
    that waits; both empty where there is none."""
    found: object = sys._current_exceptions().get(thread or 0)
    error = found[1] if isinstance(found, tuple) else found  # before Python 3.12, what `sys.exc_info` returns
    if not isinstance(error, Exception):
        return "", ""
    told = outcome_of_exception(0, error)
    return told.headline, told.traceback


def _handled_before(error: BaseException) -> str:
    """Return the headline of the exception during whose handling a rank lost its peer, as in a `finally` that waits."""
    last, seen = error, 0
    while last.__context__ is not None and not last.__suppress_context__ and seen < _ORIGINS:
        last, seen = last.__context__, seen + 1
        if not says_lost_peer(_message_of(last)):
            return _headline_of(last)
    return ""


def _origins(error: BaseException) -> list[BaseException]:
    """Return the causes and contexts of an exception, recursively; chains may be cycles."""
    found: list[BaseException] = []
    wanted = [error.__cause__, error.__context__]
    while wanted and len(found) < _ORIGINS:
        origin = wanted.pop()
        if origin is not None and origin is not error and not any(origin is known for known in found):
            found.append(origin)
            wanted += [origin.__cause__, origin.__context__]
    return found


def _message_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:
        return _bare_message(error)


def _bare_message(error: BaseException) -> str:
    """Return the exception's type and text where `traceback` cannot format it: a method of the exception raises, or the
    test has replaced a function that `traceback` needs (`open`, `linecache`) and still has."""
    try:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    except Exception:
        return f"{type(error).__name__}: <exception str() failed>"


def _headline_of(error: BaseException) -> str:
    """Return the exception's type and the first line of its message with text. Where the message holds a traceback, of
    another process for example, the last line of that is added."""
    lines = [line for line in _message_of(error).splitlines() if line.strip()]
    name = type(error).__name__
    start = next((number for number, line in enumerate(lines) if name in line), 0)
    headline = lines[start].removeprefix(f"{type(error).__module__}.").rstrip(": ") if lines else name
    following = lines[start + 1 :]
    if headline == name and following:
        headline = f"{name}: {following.pop(0).strip()}"
    if origin := _origin_told(following):
        headline = f"{headline.rstrip(': ')}: {origin}"
    return _cut(headline)


def _origin_told(lines: Sequence[str]) -> str:
    """Return the exception at the end of the last traceback in the lines; empty where there is none."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    after = lines[starts[-1] + 1 :] if starts else []
    return next((line.strip() for line in after if not line[0].isspace()), "")


def _cut(line: str) -> str:
    return line if len(line) <= _HEADLINE_CHARACTERS else f"{line[:_HEADLINE_CHARACTERS]} ..."


def _text_of(error: BaseException) -> str:
    """Format an exception and its causes, without the harness's own frames unless they are wanted."""
    try:
        settings = read_settings()
    except SettingsError:  # a test that changes the environment must not hide how it ended
        settings = Settings()
    try:
        return _format(error, settings, settings.showlocals)
    except Exception:  # before Python 3.11, a variable whose repr raises
        with suppress(Exception):
            return _format(error, settings, False)
        return _bare_text(error)


def _bare_text(error: BaseException) -> str:
    """Format an exception with its frames, without source, where `traceback` cannot format it."""
    frames = [
        f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'
        for frame, line in traceback.walk_tb(error.__traceback__)
        if "__unittest" not in frame.f_globals
    ]
    return "\n".join([f"{_TRACEBACK}:", *frames, _bare_message(error)])


def _format(error: BaseException, settings: Settings, showlocals: bool) -> str:
    formatted = traceback.TracebackException.from_exception(error, capture_locals=showlocals)
    if not settings.full_traceback:
        _drop_harness_frames(formatted, error, showlocals)
    return fold_repeated_frames("".join(formatted.format()).rstrip())


def _drop_harness_frames(formatted: traceback.TracebackException, error: BaseException, showlocals: bool) -> None:
    formatted.stack = _user_stack(error.__traceback__, showlocals)
    for part, origin in ((formatted.__cause__, error.__cause__), (formatted.__context__, error.__context__)):
        if part is not None and origin is not None:
            _drop_harness_frames(part, origin, showlocals)


def _user_stack(trace: TracebackType | None, showlocals: bool) -> traceback.StackSummary:
    frames = [(frame, line) for frame, line in traceback.walk_tb(trace) if "__unittest" not in frame.f_globals]
    return traceback.StackSummary.extract(iter(frames), capture_locals=showlocals)


def skip_outcome(rank: int, reason: str) -> RankOutcome:
    """Return the outcome of a rank whose test skipped."""
    code = TEST_SKIPS["generic"].exit_code
    return RankOutcome(rank, RankStatus.SKIPPED, monotonic(), skip_reason=_cut(reason), exit_code=code)


def outcome_of_exit(rank: int, request: SystemExit) -> RankOutcome | None:
    """Return the outcome of a rank whose test exits with a code that means a skip; None for another code."""
    reason = skip_message(request.code)
    return None if reason is None else replace(skip_outcome(rank, reason), exit_code=exit_code_of(request))


def pass_outcome(rank: int) -> RankOutcome:
    """Return the outcome of a rank whose test passed."""
    return RankOutcome(rank, RankStatus.PASSED, monotonic(), exit_code=0)


#: Prefix of the reason of a skip that was `pytest.xfail`.
_XFAIL = "xfail: "


class TestSkip(NamedTuple):
    """An exit code that means a skip, and the reason it stands for (upstream's `TestSkip`, torch 2.13)."""

    exit_code: int
    message: str


TestSkip.__test__ = False  # type: ignore[attr-defined]  # not a test class, whatever pytest makes of its name


#: The codes are upstream's (torch 2.13), since tests exit with them; the reasons are worded here.
TEST_SKIPS: dict[str, TestSkip] = {
    "backend_unavailable": TestSkip(72, "the distributed backend is not available"),
    "small_worldsize": TestSkip(73, "the world size is too small"),
    "no_cuda": TestSkip(74, "CUDA is not available"),
    "multi-gpu-1": TestSkip(75, "needs at least 1 accelerator"),
    "nccl": TestSkip(76, "torch was built without NCCL"),
    "multi-gpu-2": TestSkip(77, "needs at least 2 accelerators"),
    "skipIfRocm": TestSkip(78, "does not run on ROCm"),
    "no_peer_access": TestSkip(79, "the GPUs have no peer access"),
    **{f"multi-gpu-{n}": TestSkip(77 + n, f"needs at least {n} accelerators") for n in range(3, 9)},
    "generic": TestSkip(86, "skipped inside a rank"),
    "odd_worldsize": TestSkip(87, "the world size is odd"),
    "importerror": TestSkip(88, "a module it needs cannot be imported"),
    "no_accelerator": TestSkip(89, "no accelerator is available"),
}


def skip_message(exit_code: object) -> str | None:
    """Return the reason that `exit_code` stands for; None where it does not mean a skip."""
    if not isinstance(exit_code, int):
        return None
    return next((skip.message for skip in TEST_SKIPS.values() if skip.exit_code == exit_code), None)


def skip_reason_of(error: BaseException) -> str | None:
    """Return the reason of unittest's skip, `pytest.skip` or `pytest.xfail`; None for another exception."""
    if isinstance(error, unittest.SkipTest):
        return str(error)
    if _is_pytests(error, "XFailed"):
        return f"{_XFAIL}{error}"
    return str(error) if _is_pytests(error, "Skipped") else None


def skip_reason_at_end(end: BaseException) -> str | None:
    """Return the reason likewise, also for an exit with a code that means a skip."""
    return skip_message(end.code) if isinstance(end, SystemExit) else skip_reason_of(end)


@contextmanager
def skips_as_known(is_pytests: bool) -> Iterator[None]:
    """Convert a skip that leaves the block to the exception of whoever runs the test: `pytest.xfail` of a rank stays
    itself where that is pytest, and pytest's exceptions become unittest's elsewhere."""
    try:
        yield
    except BaseException as error:
        reason = skip_reason_of(error)
        if reason is None or isinstance(error, unittest.SkipTest) != is_pytests:
            raise
        if not is_pytests:
            raise unittest.SkipTest(reason) from None
        if reason.startswith(_XFAIL):
            raise sys.modules["_pytest.outcomes"].XFailed(reason.removeprefix(_XFAIL)) from None
        raise


def _is_pytests(error: BaseException, name: str) -> bool:
    outcomes = sys.modules.get("_pytest.outcomes")  # not imported: without it, none of its exceptions was raised
    return outcomes is not None and isinstance(error, getattr(outcomes, name))
