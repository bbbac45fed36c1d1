"""Faults on four ranks over two hosts: a few of each kind, and the words of the catalogue for what is told of them.

`fault_table.py --hosts 2` runs them all.
"""

from __future__ import annotations

import sys
import unittest
from dataclasses import replace
from pathlib import Path

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))

from faults.catalogue import catalogue, network_faults
from faults.fault import Ending, Expectation, Fault
from faults.judgement import judge
from faults.over_hosts import deadline_over_hosts, run_over_hosts
from faults.roles import expected_of_hosts, in_catalogue_ranks
from hosts import reason_not_to_make

#: How late a verdict may come on a loaded machine, in seconds.
LATE_SECONDS = 20.0
SELECTION = ("deaths: sys exit 3", "deaths: raises and crashes in a cleanup", "network: narrow link")


class Roles(TestCase):
    def test_ranks_and_hosts(self) -> None:
        for told, expected in (
            ("rank 3 (host2) errored: ValueError: boom", "rank 1 errored: ValueError: boom"),
            ("rank 3 (host2) skipped, ranks 0, 1 (host1), rank 2 (host2) passed", "rank 1 skipped, ranks 0, 2 passed"),
            ("ranks 0, 1 (host1), ranks 2, 3 (host2) still ran", "ranks 0-2 still ran"),
            ("nothing was heard from ranks 2, 3 (host2)", "nothing was heard from ranks 1, 2"),
            ("deadlock: ranks 0, 1 (host1) in recv, rank 2 (host2) in x", "deadlock: rank 0 in recv, rank 2 in x"),
        ):
            self.assertEqual(expected, in_catalogue_ranks(told))

    def test_a_first_line_without_hosts_or_with_a_wrong_one_fits_nothing(self) -> None:
        for told in ("rank 3 errored: x", "rank 3 (host1) errored: x", "ranks 0, 3 (host1) errored: x", "rank 7 died"):
            self.assertEqual(told, in_catalogue_ranks(told))

    def test_other_lines_name_no_hosts(self) -> None:
        told = "rank 3 (host2) died\n\nranks 0-2 lost their connection to rank 3\n[rank 3] about to crash"
        expected = "rank 1 died\n\nranks 0, 2 lost their connection to rank 1\n[rank 1] about to crash"
        self.assertEqual(expected, in_catalogue_ranks(told))

    def test_what_is_expected(self) -> None:
        fault = Fault("x", "X.test_x", "Does.", Expectation(Ending.ERROR, "rank 1 died: killed by SIGKILL, x"))
        cause = expected_of_hosts(fault).expected.cause
        self.assertEqual("rank 1 died: (killed by SIGKILL|an unknown exit status), x", cause)
        deadlock = replace(fault, expected=Expectation(Ending.ERROR, "deadlock: ", is_deadlock=True))
        self.assertTrue(expected_of_hosts(deadlock).expected.is_hang)


@unittest.skipIf(reason_not_to_make() is not None, str(reason_not_to_make()))
class Selection(TestCase):
    def test_some_faults(self) -> None:
        known = {fault.name: expected_of_hosts(fault) for fault in (*catalogue(), *network_faults())}
        faults = [known[name] for name in SELECTION if not known[name].expected.needs()]
        seen = run_over_hosts(faults)
        for fault in faults:
            with self.subTest(fault.name):
                judgement = judge(fault, seen.get(fault.test), deadline_over_hosts(fault), LATE_SECONDS)
                self.assertTrue(judgement.seen is not None)
                self.assertEqual((), judgement.wrongs, str(judgement.wrongs))


if __name__ == "__main__":
    run_tests()
