"""Makes a rank's outcome of how its test ended: by an exception, with a skip, or well."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from types import TracebackType

from torch_testing_shim._engine.outcome import PeerFailedError, RankOutcome, RankStatus, says_lost_peer
from torch_testing_shim._engine.skip_codes import TEST_SKIPS, is_pytest_failure
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
    """Returns the outcome of a rank whose test raised `error`.

    Args:
        rank: the rank.
        error: the exception; it need not be picklable, since only its text is kept.
        failure: the exception type that means "an assertion did not hold" (`unittest`'s `failureException`).
    """
    is_failure = isinstance(error, failure) or is_pytest_failure(error)
    status = RankStatus.FAILED if is_failure else RankStatus.ERRORED
    text = _text_of(error)
    if len(text) > _TRACEBACK_CHARACTERS:
        half = _TRACEBACK_CHARACTERS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return RankOutcome(
        rank,
        status,
        time.monotonic(),
        headline=_headline_of(error),
        traceback=text,
        exit_code=TEST_ERROR_EXIT_CODE,
        follows_peer=isinstance(error, PeerFailedError),
        wraps_lost_peer=any(says_lost_peer(_message_of(origin)[:_TRACEBACK_CHARACTERS]) for origin in _origins(error)),
    )


def _origins(error: BaseException) -> list[BaseException]:
    """Returns the causes and contexts of an exception, recursively; chains may be cycles."""
    found: list[BaseException] = []
    wanted = [error.__cause__, error.__context__]
    while wanted and len(found) < _ORIGINS:
        origin = wanted.pop()
        if origin is not None and origin is not error and not any(origin is known for known in found):
            found.append(origin)
            wanted += [origin.__cause__, origin.__context__]
    return found


def _message_of(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _headline_of(error: BaseException) -> str:
    """Returns the exception's type and the first line of its message with text. Where the message holds a traceback, of
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
    """Returns the exception at the end of the last traceback in the lines; empty where there is none."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    after = lines[starts[-1] + 1 :] if starts else []
    return next((line.strip() for line in after if not line[0].isspace()), "")


def _cut(line: str) -> str:
    return line if len(line) <= _HEADLINE_CHARACTERS else f"{line[:_HEADLINE_CHARACTERS]} ..."


def _text_of(error: BaseException) -> str:
    """Formats an exception and its causes, without the harness's own frames unless they are wanted."""
    try:
        settings = read_settings()
    except SettingsError:  # a test that changes the environment must not hide how it ended
        settings = Settings()
    try:
        return _format(error, settings, settings.showlocals)
    except Exception:  # before Python 3.11, a variable whose repr raises
        return _format(error, settings, False)


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
    """Returns the outcome of a rank whose test skipped."""
    code = TEST_SKIPS["generic"].exit_code
    return RankOutcome(rank, RankStatus.SKIPPED, time.monotonic(), skip_reason=_cut(reason), exit_code=code)


def pass_outcome(rank: int) -> RankOutcome:
    """Returns the outcome of a rank whose test passed."""
    return RankOutcome(rank, RankStatus.PASSED, time.monotonic(), exit_code=0)
