"""The declaration of one option: a row of the table `Options`, and the readers of values."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_testing_shim._shared.cores import core_count
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword
from torch_testing_shim._shared.values import as_argument, seconds, whole_number

as_count = as_argument(whole_number(1))
as_natural = as_argument(whole_number(0))
as_seconds = as_argument(seconds())


def as_keyword(text: str) -> str:
    try:
        read_keyword(text)
    except KeywordError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def as_jobs(text: str) -> int:
    if text == "auto":
        return core_count()
    try:
        return as_count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number from 1 nor auto") from None


def as_path(text: str) -> Path:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return Path(text)


@dataclass(frozen=True)
class Argument:
    """One option of the command line."""

    group: str  # the group of `--help` that it stands in
    names: tuple[str, ...]  # its spellings
    words: Mapping[str, Any]  # the keywords of `add_argument`
    rivals: str = ""  # options with the same word here exclude each other; "" for none


def option(group: str, *names: str, default: Any = None, rivals: str = "", **words: Any) -> Any:
    """Declare a field with its option.

    Args:
        default: the value where the option is not given; by default False for a flag, () for a list, else None.
        rivals: see `Argument`.
    """
    if default is None:
        default = {"store_true": False, "append": (), "extend": ()}.get(words.get("action", ""))
    return field(default=default, metadata={"arguments": [Argument(group, names, words, rivals)]})


def options(default: Any, *declared: Any) -> Any:
    """Declare a field with several options."""
    arguments = [argument for one in declared for argument in one.metadata["arguments"]]
    return field(default=default, metadata={"arguments": arguments})
