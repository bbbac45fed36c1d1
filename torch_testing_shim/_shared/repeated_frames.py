"""Fold the frames of a recursion in the text of a traceback or a stack.

Python folds a line that repeats, but not two functions that call each other, which fill thousands of lines of a report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: The first line of a frame, as `traceback` writes it (", in f"; behind bars in an exception group) and as faulthandler
#: does (" in f").
_FRAME = re.compile(r'(?P<indent>[ |]*)File ".*", line \d+,? in .*')
#: Frames that follow each other this often are folded; Python shows a line as often before it folds it.
_SHOWN_REPEATS = 3
#: The longest cycle that is looked for, in frames: one through torch's dispatch of a subclass has a dozen.
_LONGEST_CYCLE = 40


@dataclass(frozen=True)
class _Block:
    """The lines of one frame: where it is, its source, its variables. Or a line between frames, without an indent."""

    indent: str | None
    lines: tuple[str, ...]

    def is_same_frame(self, other: _Block) -> bool:
        """The same line of the same function; variables may differ."""
        return self.indent is not None and self.lines[0] == other.lines[0]


def fold_repeated_frames(text: str) -> str:
    """Return the text with one cycle of a recursion in place of more than three that follow each other, and a line
    that says how many frames repeated how often. All other lines stay as they are."""
    if len(lines := text.split("\n")) <= _SHOWN_REPEATS:
        return text
    return "\n".join(_folded(list(_blocks(lines))))


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    indent: str | None = None
    frame: list[str] = []
    for line in lines:
        if frame and indent is not None and line.startswith(f"{indent}  ") and not _FRAME.fullmatch(line):
            frame.append(line)
            continue
        if frame:
            yield _Block(indent, tuple(frame))
        found = _FRAME.fullmatch(line)
        indent, frame = (found["indent"], [line]) if found else (None, [line])
    if frame:
        yield _Block(indent, tuple(frame))


def _folded(blocks: Sequence[_Block]) -> Iterator[str]:
    at = 0
    while at < len(blocks):
        period, repeats = _cycle_at(blocks, at)
        for block in blocks[at : at + period]:
            yield from block.lines
        if repeats > 1:
            what = "line" if period == 1 else f"{period} frames"
            yield f"{blocks[at].indent}[Previous {what} repeated {repeats - 1} more times]"
        at += period * repeats


def _cycle_at(blocks: Sequence[_Block], start: int) -> tuple[int, int]:
    """Return the length of the shortest cycle that can be folded there, and how often it repeats; else 1 and 1."""
    if blocks[start].indent is None:  # no frame: a message of 100,000 lines took seconds
        return 1, 1
    for period in range(1, min(_LONGEST_CYCLE, len(blocks) - start) + 1):
        end = start
        while end + period < len(blocks) and blocks[end].is_same_frame(blocks[end + period]):
            end += 1
        repeats = (end - start) // period + 1
        if repeats > _SHOWN_REPEATS:
            return period, repeats
    return 1, 1
