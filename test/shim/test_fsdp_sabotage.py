"""Proof that the FSDP optimizer-state checkpoint test can fail: the same case, sabotaged in one way at a time.

Each sabotage strikes after the checkpoint was loaded (or instead of that), in one rank where that is possible, and has
to come out as a failure that names the parameter and the rank.
"""

from harness_samples import ROOT, SampleTestCase

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

SABOTAGED = f"""
from unittest import mock

sys.path.insert(0, {str(ROOT / "test" / "distributed" / "checkpoint")!r})
import test_fsdp_optim_state
from test_fsdp_optim_state import FSDP, FsdpOptimStateCheckpoint as Original

PARAMETER, OTHER = "net2.0.weight", "net3.0.weight"
GUILTY = 2


class Sabotaged(Original):
    __doc__ = "Strikes as the test's name says; what is struck is the second optimizer's state, after the load."

    def _compare_states(self, before, after):
        strike = getattr(self, "strike_" + self._testMethodName.removeprefix("test_"), None)
        if strike is not None and self.rank == GUILTY:
            strike(after)
        super()._compare_states(before, after)

    def strike_one_value_of_one_shard_changed(self, state):
        state[PARAMETER]["exp_avg"].local_shards()[0].tensor.view(-1)[-1] += 0.5

    def strike_state_key_dropped(self, state):
        del state[PARAMETER]["exp_avg_sq"]

    def strike_parameter_dropped(self, state):
        del state[PARAMETER]

    def strike_states_of_two_parameters_swapped(self, state):
        state[PARAMETER], state[OTHER] = state[OTHER], state[PARAMETER]

    def strike_step_off_by_one(self, state):
        state[PARAMETER]["step"] = state[PARAMETER]["step"] + 1

    def strike_no_sharded_tensor(self, state):
        state[PARAMETER]["exp_avg"] = state[PARAMETER]["exp_avg"].local_shards()[0].tensor


def case(sabotage):
    return lambda self: sabotage(self, lambda: self.test_load_sharded_optimizer_state_dict_pass_planner_True())


def not_loaded(self, test):
    with mock.patch.object(torch.optim.Adam, "load_state_dict", lambda *_: None):
        test()


def one_rank_loads_zeros(self, test):
    load = test_fsdp_optim_state.load_sharded_optimizer_state_dict

    def load_zeros(**kwargs):
        loaded = load(**kwargs)
        if self.rank == GUILTY:
            for state in loaded["optim"]["state"].values():
                state["exp_avg"].local_shards()[0].tensor.zero_()
        return loaded

    with mock.patch.object(test_fsdp_optim_state, "load_sharded_optimizer_state_dict", load_zeros):
        test()


def learning_rate_changed(self, test):
    load = torch.optim.Adam.load_state_dict

    def load_and_change(optim, state_dict):
        load(optim, state_dict)
        optim.param_groups[0]["lr"] *= 2

    with mock.patch.object(torch.optim.Adam, "load_state_dict", load_and_change):
        test()


def optimizer_never_stepped(self, test):
    with mock.patch.object(torch.optim.Adam, "step", lambda *_: None):
        test()


def gradients_are_zero(self, test):
    backward = torch.Tensor.backward
    with mock.patch.object(torch.Tensor, "backward", lambda loss: backward(loss * 0)):
        test()


for name in [name.removeprefix("strike_") for name in dir(Sabotaged) if name.startswith("strike_")]:
    setattr(Sabotaged, "test_" + name, case(lambda self, test: test()))
for sabotage in (
    not_loaded, one_rank_loads_zeros, learning_rate_changed, optimizer_never_stepped, gradients_are_zero
):
    setattr(Sabotaged, "test_" + sabotage.__name__, case(sabotage))
del Original
"""


class FsdpSabotage(SampleTestCase):
    def test_every_sabotage_is_reported_with_parameter_and_rank(self):
        run = self.run_sample(SABOTAGED)
        self.assertEqual(1, run.exit_code, run.output)
        on_rank_2 = r"^rank 2 failed: AssertionError: "
        on_any = r"^rank \d failed: AssertionError: "
        expected = {
            "one_value_of_one_shard_changed": on_rank_2 + r"net2\.0\.weight\.exp_avg: local shard 0: .* 1 / ",
            "state_key_dropped": on_rank_2 + r"names in the state of net2\.0\.weight: ",
            "parameter_dropped": on_rank_2 + "number of parameters with a state: ",
            "states_of_two_parameters_swapped": on_rank_2 + r"net2\.0\.weight\.exp_avg: size is ",
            "step_off_by_one": on_rank_2 + r"net2\.0\.weight\.step: ",
            "no_sharded_tensor": on_rank_2 + r".*net2\.0\.weight\.exp_avg is no ShardedTensor",
            "not_loaded": on_any + "number of parameters with a state: ",
            "one_rank_loads_zeros": on_rank_2 + r"net\d\.0\.weight\.exp_avg: local shard 0: ",
            "learning_rate_changed": on_any + "param_groups: ",
            "optimizer_never_stepped": on_any + ".*the optimizer has no state",
            "gradients_are_zero": on_any + ".*every exp_avg is zero",
        }
        for sabotage, reason in expected.items():
            with self.subTest(sabotage):
                entry = self.assert_status(run, f"Sabotaged.test_{sabotage}", TestStatus.FAILED, reason)
                if reason.startswith(on_rank_2):
                    self.assertIn("ranks 0, 1, 3 found nothing wrong in what they hold", entry.detail)
        passing = {test for test, entry in run.entries.items() if entry.status is TestStatus.PASSED}
        unharmed = "Sabotaged.test_load_sharded_optimizer_state_dict_pass_planner"
        self.assertEqual({f"{unharmed}_True", f"{unharmed}_False"}, passing)


if __name__ == "__main__":
    run_tests()
