"""The warm interpreter from the runner's side: what it takes, what it refuses, and what follows from its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import psutil

from torch_testing_shim._engine.leftovers import children_of_this_process
from torch_testing_shim._runner.process.child_process import reap_orphans
from torch_testing_shim._runner.process.start import Starter
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from process_samples import ProcessTestCase
from runner_samples import RunnerTestCase, last_line

#: Says whether it was forked from an interpreter that had the harness imported already; two tests with ranks.
REAL = """
import os, sys
is_warm = "torch" in sys.modules
import torch, torch.distributed as dist
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

class T(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_sum(self):
        ones = torch.ones(2)
        dist.all_reduce(ones)
        self.assertEqual(ones, torch.full((2,), 2.0))

    def test_dies(self):
        if self.rank == 1:
            os._exit(3)

if __name__ == "__main__":
    open(f"{os.path.basename(__file__)}.{'warm' if is_warm else 'cold'}", "w").close()
    run_tests()
"""

SAYS_HOW = "import sys\nprint('warm' if 'torch_testing_shim._runner.warm.interpreter' in sys.modules else 'cold')\n"


class RefusalTest(ProcessTestCase):
    def how(self, path: Path, **variables: str) -> str:
        run = self.run_file(path, is_warm=True, variables=variables)
        self.assertEqual(0, run.exit_code, run.output)
        return run.output.strip()

    def test_what_may_not_be_forked_runs_cold_and_a_line_says_why(self) -> None:
        self.assertEqual("warm", self.how(self.write(SAYS_HOW)))
        self.write("", "ctypes.py")
        cold = [self.how(self.write(SAYS_HOW))]
        (self.folder / "files" / "ctypes.py").unlink()
        prepares = "import os\nos.environ['A'] = '1'\nimport torch_testing_shim._shared.settings\n"
        cold.append(self.how(self.write(prepares + SAYS_HOW)))
        cold.append(self.how(self.write(SAYS_HOW), PYTHONHASHSEED="5", OMP_NUM_THREADS="1"))
        configuration = self.folder / "coveragerc"  # coverage reads it in every interpreter, where it is installed
        configuration.write_text(f"[run]\ndata_file = {self.folder}/data\n")
        cold.append(self.how(self.write(SAYS_HOW), COVERAGE_PROCESS_START=str(configuration)))
        self.assertEqual(["cold"] * 4, cold)
        self.assertExpectedInline(
            "\n".join(self.said),
            """\
test_x runs in a new interpreter: 'ctypes' beside it would take the place of a module that is imported already
test_x runs in a new interpreter: it changes its environment before it imports torch
test_x runs in a new interpreter: it has another OMP_NUM_THREADS, PYTHONHASHSEED than the interpreter that files are forked from
test_x runs in a new interpreter: coverage has to see its imports""",  # noqa: E501
        )
        self.said.clear()
        self.assertEqual("warm", self.how(self.write(SAYS_HOW)))
        self.assertEqual([], self.said)

    def test_an_interpreter_that_does_not_come_up_is_given_up_once(self) -> None:
        self.starter = Starter(self.folder, self.said.append, preload=["nothing_of_this_name"])
        self.addCleanup(self.starter.close)
        self.assertEqual(["cold", "cold"], [self.how(self.write(SAYS_HOW)) for _ in range(2)])
        self.assertExpectedInline(
            "\n".join(self.said),
            """test files run in new interpreters: the interpreter that files are forked from has ended: ModuleNotFoundError: No module named 'nothing_of_this_name'""",  # noqa: E501
        )

    def test_an_interpreter_that_an_import_has_spoiled_is_replaced(self) -> None:
        modules = {
            "extended": "import torch_testing_shim\ntorch_testing_shim.__path__.append(__file__.rpartition('/')[0])\n",
            "starts": "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
            "registers": "from torch.distributed.rpc import backend_registry as it\nit.register_backend('x', id, id)\n",
            "raises": "def __getattr__(name):\n    raise KeyError('BACKEND')\n",
        }
        for name, text in modules.items():
            self.write(text, f"modules/{name}.py")
        self.starter = Starter(self.folder, self.said.append, preload=["extended"])
        self.addCleanup(self.starter.close)
        found = []
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(self.folder / "files" / "modules")}):
            for name in ("_shared", "starts", "registers", "_runner", "starts", "registers"):
                imports = f"import extended\nfrom torch_testing_shim.{name} import __file__\n"
                found.append(self.how(self.write(imports + SAYS_HOW)))
            failing = self.write("import extended\nfrom torch_testing_shim.raises import backend\n")
            self.assertIn("KeyError: 'BACKEND'", self.run_file(failing, is_warm=True).output)
            found.append(self.how(self.write(SAYS_HOW)))
        self.assertEqual(["warm", "cold", "cold", "warm", "cold", "cold", "warm"], found, self.said)
        self.assertExpectedInline(
            "\n".join(self.said),
            """\
test_x runs in a new interpreter: importing torch_testing_shim.starts starts a thread
test_x runs in a new interpreter: importing torch_testing_shim.registers registers a backend of RPC
test_x runs in a new interpreter: importing torch_testing_shim.starts starts a thread
test_x runs in a new interpreter: importing torch_testing_shim.registers registers a backend of RPC""",
        )

    def test_a_file_outlives_its_interpreter_and_the_next_ones_run_cold(self) -> None:
        waits = "import os, time\nprint('up', flush=True)\nwhile not os.path.exists('go_on'): time.sleep(0.01)\n"
        waits += "print(os.getppid())\n"
        go_on = self.folder / "go_on"
        process, listener = self.start(self.write(waits.replace("go_on", str(go_on))), is_warm=True)
        while b"up" not in listener.output:
            process.step()
        (warm,) = self.starter.own_pids
        assert warm is not None
        os.kill(warm, signal.SIGKILL)
        while psutil.Process(warm).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        self.assertEqual("cold", self.how(self.write(SAYS_HOW)))
        self.assertIn("the interpreter that files are forked from", self.said[0])
        go_on.touch()
        run = self.finish(process, listener)
        self.assertEqual((0, f"up\n{os.getpid()}\n"), (run.exit_code, run.output))


class AdoptionTest(ProcessTestCase):
    def test_what_a_fork_leaves_is_found_though_it_never_ran_another_program(self) -> None:
        """A daemon that was only forked has no environment of its own to be known by, but for the mark in memory."""
        daemon = """
            import os, time
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    open({path!r}, "w").write(str(os.getpid()))
                    time.sleep(300)
                os._exit(0)
            os.wait()
            while not os.path.exists({path!r}) or not open({path!r}).read(): time.sleep(0.01)
        """
        path = str(self.folder / "pid")
        run = self.run_file(self.write(daemon.format(path=path)), is_warm=True)
        self.assertEqual((0, 1), (run.exit_code, run.ending.processes_left))
        self.assertEqual([], self.said)
        reap_orphans(self.starter.own_pids)
        self.assertFalse(psutil.pid_exists(int(Path(path).read_text())))


class RealTest(RunnerTestCase):
    def test_files_that_import_torch_are_forked_and_their_ranks_too(self) -> None:
        for name in ("test_a", "test_b"):
            self.write(name, REAL)
        warm, cold = (self.run_test("--keep-going", "-v", "--device", "cpu", *how) for how in ([], ["--cold"]))
        self.assertEqual(["test_a.py.cold", "test_a.py.warm", "test_b.py.cold", "test_b.py.warm"], self.made())
        for run in (warm, cold):
            self.assertEqual(
                (1, "", "2 passed, 2 failed, 0 skipped"),
                (run.returncode, run.stderr, last_line(run.stdout)),
                run.stdout,
            )
            self.assertIn("rank 1 (pid", run.stdout)
            self.assertNotIn("ranks are spawned", run.stdout)
        self.assertNothingLeft()

    def test_one_file_alone_is_not_worth_an_interpreter(self) -> None:
        self.write("test_a", REAL)
        self.run_test("test_a::T::test_sum", "--device", "cpu")
        self.assertEqual(["test_a.py.cold"], self.made())

    def test_forks_die_with_a_killed_runner(self) -> None:
        hang = "import torch, time\nopen(__file__ + '.up', 'w').close()\ntime.sleep(300)\n"
        for name in ("test_a", "test_b"):
            self.write(name, hang)
        process = self.start("-j2")
        self.wait_until(lambda: len(list((self.tree / "test").glob("*.up"))) == 2, "both files run")
        process.kill()
        process.wait()
        self.wait_until(lambda: not self.processes_of_tree(), "all died with the runner", seconds=10.0)
        self.wait_until(self.has_no_children, "the orphans that it left to this process were collected")

    def has_no_children(self) -> bool:
        """Other tests have made this process the parent of orphans."""
        reap_orphans(())
        return not children_of_this_process()

    def made(self) -> list[str]:
        return sorted(path.name for path in self.tree.iterdir() if path.suffix in (".warm", ".cold"))


if __name__ == "__main__":
    run_tests()
