"""The part of pytest's report that tells of an exception which is a report over ranks."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from typing import Any

#: The attribute of what has been cut already. A second cut would take the marks of a rank's traceback for pytest's own.
_IS_DONE = "torch_testing_shim_is_cut"


def show_report_alone(error: BaseException | None, shown: Any, item: Any) -> None:
    """Leave of what pytest shows of a report over ranks (`is_report`) the report itself: it has the ranks' tracebacks,
    and the harness's own frames would stand before them. Nothing is done to another exception.

    Args:
        error: the exception.
        shown: pytest's `longrepr` of it.
        item: the test, which is shown as the place, by `--tb=line`.
    """
    if getattr(error, "is_report", False) and not hasattr(shown, _IS_DONE):
        with suppress(AttributeError, ValueError):  # pytest's insides: where they have changed, reports say more
            crash = shown.reprcrash
            crash.message = str(error).partition("\n")[0]  # the summary's line, which CI does not cut
            crash.path, crash.lineno = str(item.path), (item.location[1] or 0) + 1
            _show_nothing_else(error, shown)
            setattr(shown, _IS_DONE, True)


def _show_nothing_else(error: BaseException | None, shown: Any) -> None:
    *_, last = shown.reprtraceback.reprentries
    if last.style in ("long", "short"):
        first, *others = [line.removeprefix("E") for line in last.lines if line.startswith("E")]
        said = [first.partition(": ")[2], *textwrap.dedent("\n".join(others)).split("\n")]
        last.lines, last.reprfuncargs, last.reprlocals, last.reprfileloc = said, None, None, None
    elif last.style == "line":
        last.lines = [f"E   {shown.reprcrash.message}"]
    else:
        last.lines = [f"{error}\n"]
    shown.reprtraceback.reprentries[:] = [last]
