"""Whether files come to the same in forks of a warm interpreter and in new interpreters, test by test.

    python test/conformance/compare_warm.py                     every file under test/, twice
    python test/conformance/compare_warm.py shim/_shared/test_settings shim/distributed/test_agreement -- --keep-going

What stands after -- goes to run_test.py. A test's status and the statuses of its ranks are compared, and what the
runner found besides. Exit status: 0 where they are the same and something was compared, 1 where they differ, 2 for
wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from conform.both_ways import compare

WAYS = {"warm": (), "cold": ("--cold",)}


def main(arguments: Sequence[str] | None = None) -> int:
    return compare(__doc__, WAYS, arguments)


if __name__ == "__main__":
    sys.exit(main())
