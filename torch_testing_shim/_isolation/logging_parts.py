"""Parts of the state of `logging` that a reused rank puts back: loggers with their handlers, and flags."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch_testing_shim._isolation.kept_parts import Part, attributes
from torch_testing_shim._isolation.module_origins import is_of_library

__unittest = True  # unittest and pytest leave the frames of this module out of a report


def logging_parts() -> list[Part]:
    """Return the parts, in the order in which they are put back."""
    manager = logging.root.manager
    return [
        Part("loggers", _loggers, _restore_loggers, is_checked=False),
        attributes("logging's manager", manager, ("_disable", "loggerClass", "logRecordFactory")),
        attributes("logging.lastResort", logging.lastResort, ("level", "formatter", "filters")),
        attributes("logging", logging, ("raiseExceptions", "lastResort", "_logRecordFactory", "_loggerClass")),
    ]


def _each_logger() -> Iterator[logging.Logger]:
    yield logging.root
    for found in logging.root.manager.loggerDict.copy().values():
        if isinstance(found, logging.Logger):
            yield found


def _settings(logger: logging.Logger) -> tuple[Any, ...]:
    handlers = [(each, each.level, each.formatter, list(each.filters)) for each in logger.handlers]
    return logger.level, logger.disabled, logger.propagate, handlers, list(logger.filters)


def _loggers() -> dict[logging.Logger, tuple[Any, ...]]:
    return {logger: _settings(logger) for logger in _each_logger()}


def _restore_loggers(kept: Mapping[logging.Logger, tuple[Any, ...]]) -> None:
    """Put back each logger's settings; a new one's are those of a new logger, unless a library has just made it."""
    for logger in _each_logger():
        wanted = kept.get(logger)
        if wanted is None:
            package = sys.modules.get(logger.name.partition(".")[0])
            if package is not None and is_of_library(package):
                continue
            wanted = (logging.NOTSET, False, True, [], [])
        if _settings(logger) != wanted:
            logger.setLevel(wanted[0])
            logger.disabled, logger.propagate = wanted[1:3]
            logger.handlers[:] = [handler for handler, *_ in wanted[3]]
            for handler, level, formatter, filters in wanted[3]:
                handler.setLevel(level)
                handler.formatter, handler.filters[:] = formatter, filters
            logger.filters[:] = wanted[4]
