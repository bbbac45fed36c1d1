"""Every way in which a test on ranks ends, by real pytest processes."""

import sys
from pathlib import Path
from typing import ClassVar

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase, SharedRunTestCase

OUTCOMES = """
pytestmark = pytest.mark.ranks(2)

def test_passes(rank, world_size):
    assert 0 <= rank < world_size == 2

def test_fails_in_one(rank):
    print("said before")
    assert [rank] == [0]

def test_raises_in_one(rank, process_group):
    if rank == 1:
        raise ValueError("boom")
    dist.barrier()

def test_all_skip():
    pytest.skip("not here")

@pytest.mark.skipif(True, reason="by mark")
def test_skipped_by_mark():
    os.kill(os.getppid(), signal.SIGKILL)

def test_one_skips(rank):
    if rank == 1:
        pytest.skip("not me")

@pytest.mark.xfail(reason="known")
def test_xfails(rank):
    assert rank == 0

@pytest.mark.xfail(raises=ValueError, reason="known, too")
def test_xfails_as_expected(rank, process_group):
    if rank == 1:
        raise ValueError
    dist.barrier()

@pytest.mark.xfail(raises=RuntimeError)
def test_xfails_by_another(rank):
    raise KeyError("x")

@pytest.mark.xfail(raises=ValueError)
def test_xfails_by_another_in_one(rank):
    raise ValueError if rank == 0 else KeyError("y")

@pytest.mark.xfail(raises=RuntimeError)
def test_xfails_and_dies(rank):
    os._exit(3)

@pytest.mark.xfail
def test_xpasses(): pass

@pytest.mark.xfail(strict=True, reason="should fail")
def test_xpasses_strictly(): pass

@pytest.mark.xfail(run=False)
def test_does_not_run():
    os.kill(os.getppid(), signal.SIGKILL)

def test_imperative_xfail():
    pytest.xfail("later")

def test_imperative_xfail_in_one(rank):
    if rank == 0:
        pytest.xfail("later")

def test_pytest_fails(rank):
    pytest.fail("on purpose")

def test_pytest_raises():
    with pytest.raises(ValueError, match="boom"):
        raise ValueError("boom")

def test_dies(rank):
    print("last words")
    if rank == 1:
        os.kill(os.getpid(), signal.SIGSEGV)

def test_exits(rank):
    if rank == 1:
        os._exit(0)

def test_leaves_by_sys_exit():
    raise SystemExit(3)

@pytest.mark.ranks(2, timeout=2)
def test_hangs(rank, process_group):
    if rank == 1:
        time.sleep(60)
    dist.barrier()

@pytest.fixture
def broken_in_one(rank):
    if rank == 1:
        raise OSError("no fixture")

def test_set_up_of_one_fails(broken_in_one): pass

@pytest.fixture
def torn_in_one(rank):
    yield
    if rank == 0:
        raise OSError("torn")

def test_tear_down_of_one_fails(torn_in_one): pass

@pytest.fixture(scope="module")
def broken_for_all():
    raise OSError("for all")

def test_shared_set_up_fails(broken_for_all): pass

async def test_never_awaited(): pass

def test_exit_of_pytest(rank):
    if rank == 1:
        pytest.exit("enough")
"""
#: How each test ends, with the beginning of the line that pytest's summary has.
ENDS = {
    "test_passes": ("PASSED", ""),
    "test_fails_in_one": ("FAILED", "rank 1 failed: AssertionError: assert [1] == [0]"),
    "test_raises_in_one": ("FAILED", "rank 1 errored: ValueError: boom"),
    "test_one_skips": ("FAILED", "ranks disagree: rank 1 skipped (not me), rank 0 passed"),
    "test_xfails": ("XFAIL", "known"),
    "test_xfails_as_expected": ("XFAIL", "known, too"),
    "test_xfails_by_another": ("FAILED", "rank * errored: KeyError: 'x'"),
    "test_xfails_by_another_in_one": ("FAILED", "rank 1 errored: KeyError: 'y'"),
    "test_xfails_and_dies": ("FAILED", "rank "),
    "test_xpasses": ("XPASS", ""),
    "test_xpasses_strictly": ("FAILED", "[XPASS(strict)] should fail"),
    "test_does_not_run": ("XFAIL", ""),
    "test_imperative_xfail": ("XFAIL", "later"),
    "test_imperative_xfail_in_one": ("FAILED", "ranks disagree: rank 0 skipped (xfail: later), rank 1 passed"),
    "test_pytest_fails": ("FAILED", "rank * failed: Failed: on purpose"),
    "test_pytest_raises": ("PASSED", ""),
    "test_dies": ("FAILED", "rank 1 (pid "),
    "test_exits": ("FAILED", "rank 1 (pid "),
    "test_leaves_by_sys_exit": ("FAILED", "rank * errored: SystemExit: 3"),
    "test_hangs": ("FAILED", "rank 1 still ran at the deadline, in test_hangs (test_sample.py:"),
    "test_set_up_of_one_fails": ("FAILED", "rank 1 errored: OSError: no fixture"),
    "test_tear_down_of_one_fails": ("FAILED", "rank 0 errored: OSError: torn"),
    "test_shared_set_up_fails": ("ERROR", "OSError: for all"),
    "test_never_awaited": ("FAILED", "rank * failed: Failed: async def functions are not natively supported."),
    "test_exit_of_pytest": ("FAILED", "rank 1 errored: Exit: enough"),
}


#: Lines that the reports have.
SAID = (
    "\nSKIPPED [1] test_sample.py:21: not here\n",
    "\nSKIPPED [1] test_sample.py:24: by mark\n",
    "\n_pytest.outcomes.Exit: enough\n",
    " python -m pytest test_sample.py::test_dies\n",
    "ranks 0, 1:\n    def test_leaves_by_sys_exit():\n",
    "E       assert [1] == [0]\n",
    "\nlast lines of output:\n[ranks 0, 1] said before\n",
    "died: killed by SIGSEGV, without finishing its test",
    "died: exit code 0, without finishing its test",
    "[rank 1] last words",
    "rank 0 lost its connection to rank 1",
    "  rank 0 entered barrier",
    "rank 1:\nin setup:\n",
    "rank 0:\nin teardown:\n",
)


class Outcomes(SharedRunTestCase):
    files: ClassVar = {"test_sample.py": OUTCOMES}

    @parametrize("name", list(ENDS))
    def test_end(self, name):
        self.assert_ended(self.shared, **{name: ENDS[name]})

    @parametrize("number", range(len(SAID)))
    def test_line(self, number):
        self.assert_said(SAID[number])

    def test_frames_of_the_harness_and_of_pytest_are_not_shown(self):
        for line in ("/_pytest/", "/torch_testing_shim/_pytest_ranks/", "INTERNALERROR", "Traceback"):
            self.assertNotIn(line, self.shared.output)


instantiate_parametrized_tests(Outcomes)


class NoMarks(PytestTestCase):
    def test_runxfail_and_no_xfail_by_marks(self):
        self.write(OUTCOMES)
        chosen = "test_xfails or test_xpasses_strictly or test_imperative_xfail"
        run = self.run_pytest("--runxfail", "-k", chosen, expected=1)
        self.assert_ended(
            run,
            test_xfails=("FAILED", "rank 1 failed: "),
            test_xfails_as_expected=("FAILED", "rank 1 errored: ValueError"),
            test_xpasses_strictly=("PASSED", ""),
            test_imperative_xfail=("PASSED", ""),
        )


REUSE = """
from pathlib import Path

LEFT = []

def mark(count, **options):
    return pytest.mark.ranks(count, **options)

@pytest.fixture(autouse=True)
def noting(request, rank):
    with open(Path(__file__).with_name(f"pids.{rank}"), "a") as stream:
        stream.write(f"{request.node.name} {os.getpid()}\\n")

pytestmark = mark(2, reuse=True)

@mark(2, reuse=False)
def test_wants_fresh(): pass

def test_a(process_group, rank):
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    assert tensor.item() == 2

def test_b(process_group, monkeypatch, capsys, rank):
    monkeypatch.setenv("OF_B", "1")
    print("printed")
    assert capsys.readouterr().out == "printed\\n"
    dist.barrier()

def test_c(rank):
    assert "OF_B" not in os.environ and not dist.is_initialized()
    assert rank == 0

def test_leaves():
    LEFT.append(1)

def test_after_it():
    assert not LEFT

def test_hides():
    torch.nn.functional.relu.was_here = True

def test_finds_it():
    assert not hasattr(torch.nn.functional.relu, "was_here")

@pytest.mark.xfail
def test_xfails():
    assert 0

def test_skips():
    pytest.skip("no")

def test_after_skip(): pass

@pytest.fixture(scope="module")
def shared():
    return {"values": [1]}

def test_changes_a_fixture(shared):
    shared["values"].append(2)

def test_has_it_as_it_was(shared):
    assert shared == {"values": [1]}
"""
OTHER_MODULE = """
import os
from pathlib import Path
import pytest

@pytest.mark.ranks(2)
@pytest.mark.parametrize("number", [1, 2])
def test_other(rank, number):
    with open(Path(__file__).with_name(f"pids.{rank}"), "a") as stream:
        stream.write(f"test_other[{number}] {os.getpid()}\\n")
"""


class Reuse(SharedRunTestCase):
    """Ranks that run tests one after the other."""

    files: ClassVar = {"test_sample.py": REUSE, "test_z.py": OTHER_MODULE}
    arguments = ("test_sample.py", "test_z.py")
    extra: ClassVar = {"TORCH_TESTING_SHIM_REUSE_RANKS": "1"}

    def pids(self, name):
        """The processes that rank 0 of a test had, in their order."""
        lines = (line.split() for line in self.left["pids.0"].splitlines())
        return [pid for test, pid in lines if test == name]

    def assert_same_ranks(self, one, other):
        self.assertEqual(self.pids(one)[:1], self.pids(other)[:1])

    def test_a_passing_test_keeps_its_ranks(self):
        self.assert_same_ranks("test_a", "test_b")
        self.assert_same_ranks("test_b", "test_c")

    def test_a_failing_test_runs_again_in_fresh_ones(self):
        self.assertEqual(2, len(set(self.pids("test_c"))))
        self.assert_ended(self.shared, test_c=("FAILED", "rank 1 failed: AssertionError: assert 1 == 0"))

    def test_state_that_is_left_ends_them(self):
        self.assert_ended(self.shared, test_leaves=("PASSED", ""), test_after_it=("PASSED", ""))
        self.assertNotEqual(self.pids("test_leaves"), self.pids("test_after_it"))
        self.assert_said(
            "test_leaves: left in ranks 0, 1, so the next test gets new ranks: test_sample.LEFT was changed"
        )

    def test_a_verdict_that_differs_in_fresh_ranks_is_noted(self):
        self.assert_ended(self.shared, test_finds_it=("PASSED", ""))
        self.assert_said(
            "\ntest_sample.py::test_finds_it: passed alone, failed after test_sample.py::test_hides and 1 before it: "
            "state was left behind\n"
        )

    def test_one_that_is_expected_to_fail_has_fresh_ones(self):
        self.assert_ended(self.shared, test_xfails=("XFAIL", ""))
        self.assertEqual(1, len(self.pids("test_xfails")))

    def test_a_changed_fixture_ends_them(self):
        self.assert_ended(self.shared, test_has_it_as_it_was=("PASSED", ""))
        self.assert_said("so the next test gets new ranks: fixtures.shared was changed")

    def test_a_mark_wins_over_the_setting(self):
        others = {
            pid for line in self.left["pids.0"].splitlines() for name, pid in [line.split()] if "fresh" not in name
        }
        self.assertNotIn(self.pids("test_wants_fresh")[0], others)

    def test_each_module_has_its_own_and_the_setting_is_the_default(self):
        self.assert_same_ranks("test_other[1]", "test_other[2]")
        self.assertEqual(1, self.left["pids.0"].count(self.pids("test_other[1]")[0] + "\n") - 1)


class ReuseAtTheEnd(PytestTestCase):
    is_cold = True  # what a fork has of `atexit` is not what pytest's process has

    def test_ranks_that_are_kept_end_with_the_run(self):
        self.write("""
            @pytest.mark.ranks(2, reuse=True)
            def test_passes(): pass

            def test_fails_in_pytests_process():
                assert 0

            @pytest.mark.ranks(2, reuse=True)
            def test_is_not_run(): pass
        """)
        run = self.run_pytest("-x", expected=1)
        self.assert_ended(run, test_passes=("PASSED", ""))
        self.assertNotIn("Traceback", run.output)


if __name__ == "__main__":
    run_tests()
