"""What single arguments of the command line may be; each refusal is one sentence."""

from __future__ import annotations

import argparse
from pathlib import Path

from torch_testing_shim._shared.cores import core_count
from torch_testing_shim._shared.keyword_expression import KeywordError, read_keyword

__all__ = [
    "as_count",
    "as_jobs",
    "as_keyword",
    "as_natural",
    "as_path",
    "as_seconds",
    "as_seed",
]


def as_keyword(text: str) -> str:
    try:
        read_keyword(text)
    except KeywordError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def as_count(text: str) -> int:
    if not _is_number(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def as_natural(text: str) -> int:
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def as_seed(text: str) -> int:
    if not _is_number(text) or int(text) >= 2**32:  # numpy's generators take no more
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def as_jobs(text: str) -> int:
    if text == "auto":
        return core_count()
    if not _is_number(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number from 1 nor auto")
    return int(text)


def as_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return seconds


def as_path(text: str) -> Path:
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no path")
    return Path(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
