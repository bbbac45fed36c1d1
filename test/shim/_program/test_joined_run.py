"""torch_testing_shim._program.joined_run"""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # test/shim, for what samples share

from joined_samples import JoinedSample, JoinedSampleTestCase

from torch_testing_shim.common_utils import run_tests

#: Seconds that a test of a sample may take, and what a verdict may take after that.
SECONDS, LATE = 2.0, 5.0
HOST = socket.gethostname()

SAMPLE = """
from torch.distributed import FileStore
from torch_testing_shim.common_distributed import MultiProcContinuousTest

RANK = int(os.environ["RANK"])

class Passing(DTensorTestBase):
    world_size = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.environ["SET_UP"] = "set up"

    @with_comms
    def test_changes_the_environment(self):
        os.environ["LEFT"] = "1"
        torch.nn.Module.register_module = torch.nn.Module.add_module
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
        subprocess.Popen(["sleep", "1000"])
        print("printed in a rank")
        tensor = torch.full((2,), float(self.rank))
        dist.all_reduce(tensor)
        self.assertEqual(torch.full((2,), 6.0), tensor)

    @with_comms
    def test_does_not_see_it(self):
        self.assertNotIn("LEFT", os.environ)
        self.assertFalse(torch.nn.modules.module._global_forward_hooks)
        self.assertEqual("set up", os.environ["SET_UP"])
        self.assertNotIn("TORCHELASTIC_RUN_ID", os.environ)

    @with_comms
    @with_temp_dir
    def test_shares_a_folder(self):
        open(os.path.join(self.temp_dir, str(self.rank)), "w").close()
        dist.barrier()
        self.assertEqual(4, len(os.listdir(self.temp_dir)))

class Two(Spawning):
    def test_meets(self):
        store = FileStore(self.file_name, self.world_size)
        dist.init_process_group("gloo", store=store, rank=self.rank, world_size=self.world_size)
        dist.barrier()

class Five(Two):
    world_size = 5

class Expecting(Two):
    def setUp(self):
        super().setUp()
        self.skip_return_code_checks = [self.test_meets.__wrapped__]

class Continuous(MultiProcContinuousTest):
    world_size = 4

    def test_1(self):
        dist.barrier()

    def test_2(self):
        dist.barrier()

class Plain(TestCase):
    def test_plain(self):
        pass

class Failing(DTensorTestBase):
    world_size = 4

    @with_comms
    def test_assertion(self):
        self.assertNotEqual(3, self.rank)
        dist.barrier()

    @with_comms
    def test_exit(self):
        if self.rank == 3:
            sys.exit(3)
        dist.barrier()

    @with_comms
    def test_skip(self):
        if self.rank == 3:
            self.skipTest("no")
        dist.barrier()

    @with_comms
    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(0, number)

    @unittest.expectedFailure
    @with_comms
    def test_expected(self):
        self.fail("as expected")

class SetUp(Two):
    def setUp(self):
        super().setUp()
        if RANK == 2:
            self.skipTest("only here")

class TearDown(Two):
    def tearDown(self):
        super().tearDown()
        if RANK == 2:
            raise ValueError("torn")

class SetUpClass(Two):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if RANK == 2:
            raise ValueError("class")

class Zombie(DTensorTestBase):
    world_size = 4

    @with_comms
    def test_killed(self):
        if self.rank == int(os.environ.get("KILLED", "1")):
            os.kill(os.getpid(), signal.SIGKILL)
        dist.barrier()

    @with_comms
    def test_then(self):
        pass
"""

HANGING = """
import resource

RANK = int(os.environ["RANK"])

class Body(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_hangs(self):
        if self.rank == 1:
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
            time.sleep(1000)
        dist.barrier()

class SetUp(Body):
    def setUp(self):
        super().setUp()
        if RANK == 1:
            time.sleep(1000)

class SetUpClass(Body):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if RANK == 1:
            time.sleep(1000)

class Descriptors(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_raises_without_any(self):
        if self.rank == 1:
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
            raise ValueError("boom")
        dist.barrier()

class Gone(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_passes(self):
        try:  # its nanobind lists what is left at the end (torch 2.15)
            import triton._C.libtriton
        except ImportError:
            pass

    @classmethod
    def tearDownClass(cls):
        if RANK == 1:
            os._exit(0)  # so that torchrun would not end the others
"""

LATE_COMERS = """
from torch_testing_shim._program import joined_run

joined_run._JOIN_SECONDS = 5.0
if int(os.environ["RANK"]) < 2:
    os._exit(0)  # so that torchrun would not end the others

class Plain(TestCase):
    def test_plain(self):
        pass
"""


class JoinedRunTest(JoinedSampleTestCase):
    def test_all_ends_of_tests(self) -> None:
        sample = self.write_sample(SAMPLE)
        found = self.run_joined([[sample, "-v"]] * 4)
        entries = found.entries
        self.assertEqual([1, -9, 1, 1], [found.exit_codes[0], found.exit_codes[1], *found.exit_codes[2:]])
        self.assertEqual(["", "", ""], found.outputs[1:])
        statuses = {name: entry.status.value for name, entry in entries.items()}
        passing = ["changes_the_environment", "does_not_see_it", "shares_a_folder"]
        expected = {f"Passing.test_{name}": "passed" for name in passing}
        expected |= dict.fromkeys(
            ["Two.test_meets", "Continuous.test_1", "Continuous.test_2", "Plain.test_plain"], "passed"
        )
        self.assertEqual(
            expected, {name: status for name, status in statuses.items() if status == "passed"}, found.outputs[0]
        )
        self.assertNotIn("printed in a rank", found.outputs[0])
        notes = entries["Passing.test_changes_the_environment"].notes
        self.assertRegex(
            "\n".join(notes),
            "^state was left behind in ranks 0-3, where the next test runs, too: "
            r"torch.nn.modules.module.Module.register_module was \w+$",
        )
        self.assertEqual(("",), ("".join(entries["Passing.test_does_not_see_it"].notes),))
        records = entries["Passing.test_changes_the_environment"].ranks
        self.assertEqual([(rank, "passed", HOST) for rank in range(4)], [(r.rank, r.status, r.host) for r in records])

        reasons = {name: (statuses[name], entry.reason) for name, entry in entries.items()}
        self.assertEqual(("skipped", "needs 5 ranks; the launcher has started 4"), reasons["Five.test_meets"])
        self.assertEqual("skipped", statuses["Expecting.test_meets"])
        self.assertIn("expects ranks to end", reasons["Expecting.test_meets"][1])
        self.assertEqual("expected failure", statuses["Failing.test_expected"])
        status, reason = reasons["Failing.test_assertion"]
        self.assertEqual("failed", status)
        self.assertRegex(reason, rf"^rank 3 \({HOST}\) failed: AssertionError")
        self.assertIn("ranks 0-2 lost their connection to rank 3", entries["Failing.test_assertion"].detail)
        self.assertRegex(reasons["Failing.test_exit"][1], rf"^rank 3 \({HOST}\) \(pid \d+\) died: exit code 3")
        self.assertRegex(
            reasons["Failing.test_skip"][1], r"ranks disagree: rank 3 .* skipped \(no\), ranks 0-2 .* went on"
        )
        self.assertIn("in subtest (number=1)", reasons["Failing.test_subtests"][1])
        who = f"rank 2 ({HOST})"
        self.assertIn(f"{who} does not run the test: skipped: only here", reasons["SetUp.test_meets"][1])
        self.assertEqual(("error", f"{who}: error: ValueError: torn"), reasons["TearDown.test_meets"])
        self.assertIn(f"{who} does not run the test: error: did not run, since", reasons["SetUpClass.test_meets"][1])
        status, reason = reasons["Zombie.test_killed"]
        self.assertRegex(reason, rf"^rank 1 \({HOST}\) \(pid \d+\) died: (killed by SIGKILL|an unknown exit status)")
        self.assertIn("these tests were to run and did not: Zombie.test_then", found.outputs[0])
        self.assertEqual([], os.listdir(self.folder / "tmp"))  # its neighbours have removed what the killed rank left

    def test_a_restart_goes_on_at_the_next_test(self) -> None:
        sample, store = self.write_sample(SAMPLE), self.new_store()
        found = self.run_joined([[sample, "Zombie"]] * 4, store=store, KILLED="0")
        self.assertEqual([-9, 1, 1, 1], found.exit_codes)
        died = rf"rank 0 \({HOST}\) \(pid \d+\) died"
        self.assertRegex(found.outputs[1], died)  # the next rank reports where rank 0 is gone
        self.assertEqual(["", ""], found.outputs[2:])

        found = self.run_joined([[sample, "Zombie"]] * 4, store=store)
        self.assertEqual([1] * 4, found.exit_codes, found.outputs)
        self.assertEqual(
            {"Zombie.test_killed": "error", "Zombie.test_then": "passed"},
            {name: entry.status.value for name, entry in found.entries.items()},  # of another host's journal
        )
        self.assertRegex(found.entries["Zombie.test_killed"].reason, died)
        self.assertIn("torchrun has restarted its processes; before that: 1 error\n", found.outputs[0])
        self.assertTrue(found.outputs[0].endswith("\nFAILED, in all: 1 passed, 1 error\n"), found.outputs[0])
        self.assertEqual(["", "", ""], found.outputs[1:])

    def test_nobody_waits_for_one_that_has_gone_after_the_last_test(self) -> None:
        found = self.run_joined([[self.write_sample(HANGING), "Gone"]] * 2)
        self.assertEqual([1, 0], found.exit_codes)
        self.assertTrue(
            found.outputs[0].endswith("rank 1 did not tell how its run ended\nFAILED, in all: 1 passed\n"),
            found.outputs,
        )
        self.assertLess(found.seconds, 30.0)

    def test_the_lowest_rank_that_has_come_tells_that_rank_0_has_not(self) -> None:
        found = self.run_joined([[self.write_sample(LATE_COMERS)]] * 4)
        self.assertEqual([0, 0, 2, 2], found.exit_codes)
        said = "torchrun's processes did not meet: nothing was heard from rank 0, 1 within 5 s\n"
        self.assertEqual(["", "", said, ""], found.outputs)

    def test_whatever_hangs_ends_and_so_does_what_cannot_go_on(self) -> None:
        sample = self.write_sample(HANGING)
        ends = (
            ("Body", rf"rank 1 \({HOST}\) still ran at the deadline, in test_hangs \(test_sample.py:\d+\)"),
            ("SetUp", rf"rank 1 \({HOST}\) still ran at the deadline, in setUp \(test_sample.py:\d+\)"),
            ("SetUpClass", r"nothing was heard from rank 1"),
            ("Descriptors", rf"rank 1 \({HOST}\) errored: ValueError: boom"),
        )

        def run_class(name: str) -> JoinedSample:
            own = {"DISTRIBUTED_TESTS_DEFAULT_TIMEOUT": str(SECONDS), "TORCH_TESTING_SHIM_JOURNAL": ""}
            return self.run_joined([[sample, name]] * 2, **own)

        with ThreadPoolExecutor() as pool:  # at once, since they wait
            runs = list(pool.map(run_class, (name for name, _ in ends)))
        for (name, said), found in zip(ends, runs, strict=True):
            self.assertEqual([1, 1], found.exit_codes, name)
            self.assertRegex(found.outputs[0], said, str(found.outputs))
            if name == "SetUpClass":
                self.assertRegex(found.outputs[1], r"did not come to its next test; it is in setUpClass")
            self.assertLess(found.seconds, SECONDS + LATE + 2.0, name)  # and what two processes take to start
        self.assertEqual([], self.processes_of_sample())

    def test_processes_that_run_something_else_are_told_before_the_first_test(self) -> None:
        sample, other = self.write_sample(SAMPLE), self.write_sample(SAMPLE + "\n# changed", "test_other.py")
        found = self.run_joined([[sample, "Plain"], [other, "Plain"]])
        self.assertEqual([2, 2], found.exit_codes)
        self.assertRegex(
            found.outputs[0],
            "^torchrun's processes do not run the same:\n"
            rf"    test file: \w+ on rank 0 \({HOST}\); \w+ on rank 1 \({HOST}\)\n$",
        )
        self.assertEqual(("", {}), (found.outputs[1], found.entries))

        found = self.run_joined([[sample, "Plain"], [sample, "Two"]])
        self.assertEqual([2, 2], found.exit_codes)
        self.assertRegex(found.outputs[0], r"    tests: 1 \(\w+\) on rank 0 .*; 1 \(\w+\) on rank 1 .*\n$")

    def test_wrong_usage_is_one_sentence_of_rank_0(self) -> None:
        sample = self.write_sample(SAMPLE)
        self.write_sample(SAMPLE, "test_by_pytest.py")
        for options, said in (
            (
                ["--subprocess"],
                "--subprocess cannot be combined with torchrun, whose processes are the ranks of every test",
            ),
            (["--run-parallel", "2"], "--run-parallel cannot be combined with torchrun"),
            (["--failfast"], "--failfast cannot be combined with torchrun"),
            (["--shard", "1", "2"], "unrecognized arguments: --shard"),
        ):
            found = self.run_joined([[sample, *options]] * 2)
            self.assertEqual([2, 2], found.exit_codes, found.outputs)
            self.assertIn(said, found.outputs[0])
            self.assertEqual("", found.outputs[1])

    def test_pytest_without_its_plugin_is_refused(self) -> None:
        sample = self.write_sample(SAMPLE)
        found = self.run_joined(
            [["-m", "pytest", "-p", "no:torch_testing_shim.pytest_plugin", "-q", sample, "-k", "Two"]]
        )
        self.assertEqual([1], found.exit_codes)
        self.assertIn(
            "torchrun has to start the test file, or pytest with -p torch_testing_shim.pytest_plugin", found.outputs[0]
        )


if __name__ == "__main__":
    run_tests()
