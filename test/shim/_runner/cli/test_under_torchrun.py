"""torch_testing_shim._runner.cli.under_torchrun"""

from __future__ import annotations

from torch_testing_shim._runner.cli.arguments import parse_options
from torch_testing_shim._runner.cli.under_torchrun import refuse_under_torchrun
from torch_testing_shim._runner.usage_error import UsageError
from torch_testing_shim._shared.launch import Launch
from torch_testing_shim.common_utils import TestCase, run_tests

LAUNCH = Launch(0, 4, 4, "localhost", 29500, has_store=True)


class UnderTorchrunTest(TestCase):
    def test_what_makes_no_sense_is_refused(self) -> None:
        for words in (["-j", "2"], ["--shard", "1", "2"], ["--coverage"], ["--expectations", "x.toml"]):
            said = f"^{words[0]} cannot be combined with torchrun, whose processes are the ranks of every test$"
            with self.assertRaisesRegex(UsageError, said):
                refuse_under_torchrun(parse_options(words), LAUNCH)
        with self.assertRaisesRegex(UsageError, "^--world-size 5 cannot be had: torchrun has started 4 processes"):
            refuse_under_torchrun(parse_options(["--world-size", "5"]), LAUNCH)

    def test_the_rest_is_not(self) -> None:
        words = ["-j", "1", "--world-size", "4", "--retries", "1", "--keep-going", "-k", "x"]
        refuse_under_torchrun(parse_options(words), LAUNCH)


if __name__ == "__main__":
    run_tests()
