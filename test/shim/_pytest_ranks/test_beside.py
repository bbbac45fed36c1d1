"""Functions on ranks beside other plugins of pytest, each the real one, and beside pytest's own options."""

import os
import pty
import select
import sys
import time
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase, needs

TESTS = """
import random
from pathlib import Path

pytestmark = pytest.mark.ranks(2)
HERE = Path(__file__).parent

def test_a(rank):
    (HERE / f"order.{rank}").open("a").write("a")

def test_b(rank):
    (HERE / f"order.{rank}").open("a").write("b")

def test_c(rank):
    (HERE / f"random.{rank}").write_text(str(random.random()))

def test_at_first_fails(rank):
    been = HERE / "been"
    if rank == 1 and not been.exists():
        been.touch()
        raise OSError("at first")

def test_fails(rank):
    assert rank == 0

def test_hangs(rank, process_group):
    if "HANG" in os.environ and rank == 1:
        time.sleep(60)
"""


class Timeout(PytestTestCase):
    plugins = ("pytest_timeout",)

    @needs("pytest_timeout")
    def test_its_limit_is_the_deadline_of_ranks(self):
        self.write(TESTS)
        run = self.run_pytest("--timeout=2", "-k", "hangs or test_a", expected=1, HANG="1")
        self.assert_ended(
            run,
            test_a=("PASSED", ""),
            test_hangs=("FAILED", "rank 1 still ran at the deadline, in test_hangs (test_sample.py:"),
        )
        self.assertIn("\nstacks of rank 1 when stopped:\n", run.output)
        self.assertNotIn("Timeout >", run.output)


class Reruns(PytestTestCase):
    plugins = ("pytest_rerunfailures",)

    @needs("pytest_rerunfailures")
    def test_a_test_runs_again_on_new_ranks(self):
        self.write(TESTS)
        run = self.run_pytest("--reruns=1", "-k", "fails", expected=1)
        self.assertEqual(["PASSED"], [kind for kind, _ in run.outcomes["test_at_first_fails"] if kind != "RERUN"])
        self.assert_ended(run, test_fails=("FAILED", "rank 1 failed: AssertionError: assert 1 == 0"))
        self.assertIn("1 failed, 1 passed, 4 deselected, 2 rerun", run.output)


class Order(PytestTestCase):
    plugins = ("pytest_randomly",)

    @needs("pytest_randomly")
    def test_ranks_have_the_same_order_and_seed(self):
        self.write(TESTS)
        for seed in ("1", "2"):
            self.run_pytest(f"--randomly-seed={seed}", "-k", "not fails and not hangs", expected=0)
        orders = [(self.folder / f"order.{rank}").read_text() for rank in range(2)]
        seeds = [(self.folder / f"random.{rank}").read_text() for rank in range(2)]
        self.assertEqual(orders[0], orders[1])
        self.assertEqual(seeds[0], seeds[1])


ASYNC = """
import asyncio
pytestmark = pytest.mark.ranks(2)

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def of_anyio(rank):
    await asyncio.sleep(0)
    yield rank

@pytest.mark.anyio
async def test_anyio(of_anyio, rank, process_group):
    await asyncio.sleep(0)
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    assert tensor.item() == 2 and of_anyio == rank

@pytest.mark.anyio
async def test_anyio_fails(of_anyio):
    assert of_anyio == 0

if "pytest_asyncio" in os.environ:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def of_asyncio(rank):
        await asyncio.sleep(0)
        yield rank

    @pytest.mark.asyncio
    async def test_asyncio(of_asyncio, rank, process_group):
        await asyncio.sleep(0)
        tensor = torch.ones(1)
        dist.all_reduce(tensor)
        assert tensor.item() == 2 and of_asyncio == rank

    @pytest.mark.asyncio
    async def test_asyncio_fails(of_asyncio):
        await asyncio.sleep(0)
        assert of_asyncio == 0
"""


class Coroutines(PytestTestCase):
    def check(self, name, **extra):
        self.write(ASYNC)
        run = self.run_pytest("-k", name, expected=1, **extra)
        self.assert_ended(
            run,
            **{
                f"test_{name}": ("PASSED", ""),
                f"test_{name}_fails": ("FAILED", "rank 1 failed: AssertionError: assert 1 == 0"),
            },
        )

    @needs("anyio")
    def test_of_anyio(self):
        self.plugins = ("anyio.pytest_plugin",)
        self.check("anyio")

    @needs("pytest_asyncio")
    def test_of_pytest_asyncio(self):
        self.plugins = ("pytest_asyncio.plugin",)
        self.check("asyncio", pytest_asyncio="1")


class Forked(PytestTestCase):
    plugins = ("pytest_forked",)

    @needs("pytest_forked")
    def test_ranks_of_a_forked_test(self):
        self.write("def test_plain(): pass\n" + TESTS)
        plain = self.run_pytest("--forked", "-k", "test_plain or test_a or test_fails")
        if plain.outcomes["test_plain"][0][0] == "FAILED":
            self.skipTest("this pytest-forked cannot run any test of this pytest")
        self.assert_ended(plain, test_a=("PASSED", ""), test_fails=("FAILED", "rank 1 failed: "))


class Own(PytestTestCase):
    """pytest's own options."""

    def test_x_lf_and_junitxml(self):
        self.write(TESTS)
        plugin = ("-p", "cacheprovider")
        run = self.run_pytest("-x", "--junitxml=report.xml", *plugin, expected=1)
        self.assertIn("stopping after 1 failures", run.output)
        self.assert_ended(run, test_at_first_fails=("FAILED", "rank 1 errored: OSError: at first"))
        report = (self.folder / "report.xml").read_text()
        self.assertIn('<failure message="rank 1 errored: OSError: at first', report)
        self.assertRegex(report, '<property name="rank 0" value="passed in 0\\.[0-9]+ s" */>')
        self.assertRegex(report, '<property name="rank 1" value="errored in 0\\.[0-9]+ s" */>')
        run = self.run_pytest("--lf", *plugin, expected=0)
        self.assertEqual(["test_at_first_fails"], [*run.outcomes])

    def test_pdb_says_that_ranks_have_no_terminal(self):
        self.write(TESTS + "\n@pytest.fixture(scope='module')\ndef broken(): raise OSError('shared')\n")
        run = self.run_pytest("--pdb", "-k", "test_fails", expected=1)
        self.assertIn(
            "torch_testing_shim: ranks have no terminal for --pdb; --ranks-pdb RANK gives one of them this one",
            run.output,
        )
        self.assertNotIn("(Pdb)", run.output)

    def test_ranks_pdb_needs_a_terminal(self):
        self.write(TESTS)
        for number, said in (("1", "--ranks-pdb needs a terminal, which this process does not have"), ("-1", "from 0")):
            run = self.run_pytest("--ranks-pdb", number, expected=4)
            self.assertIn(said, run.output)
            self.assertNotIn("Traceback", run.output)


class Debugger(PytestTestCase):
    is_cold = True

    def test_ranks_pdb_gives_a_rank_the_terminal(self):
        self.write(TESTS)
        pid, terminal = pty.fork()
        if not pid:
            os.chdir(self.folder)
            words = [
                "-m",
                "pytest",
                "-p",
                "torch_testing_shim.pytest_plugin",
                "--ranks-pdb",
                "1",
                "--pdb",
                "-k",
                "fails",
            ]
            environment = self.environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
            os.execve(sys.executable, [sys.executable, *words], environment)
        said = b""
        try:
            said += self._read_until(terminal, b"(Pdb)")
            os.write(terminal, b"p 'rank is', rank, os.getpid()\n")
            said += self._read_until(terminal, b"('rank is', 1,")
            os.write(terminal, b"c\n")
            said += self._read_until(terminal, b"(Pdb)")
            os.write(terminal, b"q\n")
            said += self._read_until(terminal, b" in ")
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)
        self.assertIn(b"OSError: at first", said)

    def _read_until(self, terminal, text):
        said, end = b"", time.monotonic() + 60
        while text not in said and time.monotonic() < end:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    said += os.read(terminal, 4096)
                except OSError:
                    break
        self.assertIn(text, said)
        return said


if __name__ == "__main__":
    run_tests()
