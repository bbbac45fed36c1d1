"""Whether files come to the same in reused ranks and in fresh ones, test by test.

    python test/conformance/compare_reuse.py                    every file under test/, twice
    python test/conformance/compare_reuse.py shim/_cases/test_body -- --device cpu
    python test/conformance/compare_reuse.py -- --upstream test/conformance/upstream_style
    python test/conformance/compare_reuse.py -- --root test/shim/reuse --patterns '*_left.py'    tests that leave state

What stands after -- goes to run_test.py. A test's status and the statuses of its ranks are compared, and what the
runner found besides. Exit status: 0 where they are the same and something was compared, 1 where they differ, 2 for
wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from conform.both_ways import compare

WAYS = {"reused": ("--reuse-ranks",), "fresh": ()}


def main(arguments: Sequence[str] | None = None) -> int:
    return compare(__doc__, WAYS, arguments)


if __name__ == "__main__":
    sys.exit(main())
