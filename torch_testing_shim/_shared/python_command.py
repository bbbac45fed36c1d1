"""The words between `python` and a test file: the interpreter's own options, as they were typed, and what serves
PyTorch's files. Whoever starts a test file anew, and says how to, hands them on, since they decide how tests end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from torch_testing_shim._shared.settings import Settings

#: Options that take a value; what follows `-c` and `-m` is the program.
WITH_VALUE, PROGRAM = frozenset("WX"), frozenset("cm")
#: Options that serve the one process alone: a prompt at its end, the first line of its program, and what only prints.
NOT_HANDED_ON = frozenset("ixhV?")


def interpreter_flags(command: Sequence[str] | None = None) -> tuple[str, ...]:
    """The options between `python` and the program of a whole command line, one by one: "-bb" as "-b", "-b". By default
    those of this process."""
    return tuple(_flags(iter((sys.orig_argv if command is None else command)[1:])))


def _flags(words: Iterator[str]) -> Iterator[str]:
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return
        if word == "--check-hash-based-pycs":
            yield from (word, next(words, ""))
        elif not word.startswith("--"):
            for place, letter in enumerate(word[1:], start=2):
                if letter in PROGRAM:
                    return
                if letter in WITH_VALUE:
                    yield from (f"-{letter}", word[place:] or next(words, ""))
                    break
                if letter not in NOT_HANDED_ON:
                    yield f"-{letter}"


def interpreter_arguments(path: str, settings: Settings) -> list[str]:
    """The words between `python` and the path of a test file; more than flags where the file is PyTorch's."""
    flags = list(interpreter_flags())
    return flags if settings.upstream_file != path else [*flags, *_harness_arguments(settings)]


def pytest_arguments(settings: Settings) -> list[str]:
    """The words between `python` and pytest's arguments, where pytest runs the tests."""
    redirect = sys.modules.get("torch_testing_shim._upstream.redirect")  # not imported: it imports torch
    is_upstreams = redirect is not None and redirect.is_installed()
    pytest = [*_harness_arguments(settings), "--pytest"] if is_upstreams else ["-m", "pytest"]
    return [*interpreter_flags(), *pytest]


def _harness_arguments(settings: Settings) -> list[str]:
    mapped = ["--map-device", str(settings.device_map)] if settings.device_map else []
    return ["-m", "torch_testing_shim", *mapped]
