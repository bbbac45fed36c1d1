"""The comparison of verdicts, this harness's half of it: what ends badly is told apart from a pass."""

import sys

from harness_samples import ROOT

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(ROOT / "test" / "benchmarks"))
import compare_verdicts

from bench.plan import CONTENDERS


class CompareVerdicts(TestCase):
    def test_ours(self):
        (ours,) = (contender for contender in CONTENDERS if contender.name == "ours")
        words = {test: word for test, (word, _) in compare_verdicts.judge(ours).items()}
        self.assertEqual(
            {
                "test_exits_with_0_unfinished": "ERROR",
                "test_exits_with_3": "ERROR",
                "test_fails_alone": "FAIL",
                "test_is_killed": "ERROR",
                "test_runs_nowhere": "skipped",
                "test_segfaults": "ERROR",
                "test_skips_alone": "ERROR",
            },
            words,
        )


if __name__ == "__main__":
    run_tests()
