"""Changes of logging are put back: each case changes one part of it."""

import logging
import sys
from pathlib import Path

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases

CASES = Cases()


def settings_of_logging():
    logger = logging.getLogger("torch.distributed")
    handlers = [list(each.handlers) for each in (logging.root, logger)]
    levels = [each.level for each in (logging.root, logger)]
    new = logging.getLogger("of_a_test")
    filters = [list(each.filters) for each in (*logger.handlers, logging.lastResort)]
    return (
        handlers,
        levels,
        filters,
        logger.disabled,
        logger.filters,
        logging.root.manager.disable,
        new.level,
        new.propagate,
    )


@CASES.changes(settings_of_logging)
def loggers():
    logging.disable(logging.CRITICAL)
    logging.lastResort.addFilter(print)
    for name in (None, "torch.distributed", "of_a_test"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.DEBUG)
        logger.addFilter(print)
        logger.handlers[0].addFilter(print)
        logger.disabled = True
        logger.propagate = False


@CASES.changes(lambda: [logging.getLoggerClass(), logging.getLogRecordFactory(), logging.raiseExceptions])
def how_logging_works():
    logging.setLoggerClass(type("Of", (logging.Logger,), {}))
    logging.setLogRecordFactory(print)
    logging.raiseExceptions = False


class EachPart(TestCase):
    def test_is_put_back(self):
        self.assertEqual({}, CASES.run_forked())


if __name__ == "__main__":
    run_tests()
