"""Warm samples: forks of the server are like new interpreters, they end like them, and what they leave is found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from harness_samples import SampleTestCase, plain_environment, wait_until
from warm_samples import sample_server

from torch_testing_shim.common_utils import run_tests

#: Tells what a process has got from outside, but for the modules that are imported.
STATE = """
import json, os, signal, sys
paths = [path for path in sys.path if not path.rpartition("/")[2].startswith("tmp")]  # torch 2.6 adds one
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv[1:], "path": paths, "name": __name__, "file": __file__,
    "folder": os.getcwd(), "environment": dict(os.environ),
    "leads": [os.getsid(0), os.getpgid(0)] == [os.getpid()] * 2,
    "descriptors": {n: os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in "012"},
    "open": len(os.listdir("/proc/self/fd")), "umask": os.umask(0o022), "buffered": sys.stdout.line_buffering,
    "seekable": [sys.stdout.seekable(), sys.stderr.seekable()],
    "signals": {n: str(signal.getsignal(n)) for n in (1, 2, 10, 13, 15, 17)},
}))
sys.exit(3)
"""


class Warm(SampleTestCase):
    def state(self, words: list[str]) -> dict[str, object]:
        process = self.start(words, SET_FOR_IT="1")
        self.assertEqual(self.is_cold, isinstance(process, subprocess.Popen))
        run = self.finish(process, time.monotonic())
        self.assertEqual(3, run.exit_code, run.output)
        return json.loads(run.output)

    def test_a_fork_has_what_a_new_interpreter_has(self) -> None:
        (self.folder / "state.py").write_text(STATE)
        for words in (["state.py", "-a", "b"], [str(self.folder / "state.py")], ["-m", "state", "-a"]):
            with self.subTest(words):
                self.is_cold = True
                new = self.state(words)
                self.is_cold = False
                self.assertEqual(new, self.state(words))

    def test_ends_are_told(self) -> None:
        path = self.folder / "ends.py"
        path.write_text("import os, sys; print('said'); sys.stdout.flush(); os.kill(os.getpid(), int(sys.argv[1]))\n")
        for number in (signal.SIGKILL, signal.SIGTERM):
            run = self.run_command(str(path), str(int(number)))
            self.assertEqual((-number, "said\n"), (run.exit_code, run.output))
        path.write_text("import time\ntime.sleep(600)\n")
        process = self.start([str(path)])
        self.assertIsNone(process.poll())
        with self.assertRaises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.05)
        process.kill()
        self.assertTrue(wait_until(lambda: process.poll() == -signal.SIGKILL))
        process.kill()  # of one that has ended: nothing
        self.assertEqual(("", None), process.communicate())

    def test_what_it_leaves_is_found(self) -> None:
        """A fork of a fork has no environment of its own where others look for it."""
        path = self.folder / "leaves.py"
        path.write_text("import os, time\nif not os.fork():\n    os.setsid(); os.closerange(0, 3); time.sleep(600)\n")
        self.assertEqual(0, self.run_command(str(path)).exit_code)
        (left,) = self.processes_of_sample(patience=0.0)
        os.kill(int(left.split()[0]), signal.SIGKILL)
        self.assert_nothing_left()

    def test_what_is_read_at_the_start_needs_a_new_interpreter(self) -> None:
        server = sample_server(plain_environment())
        plain = self.environment()
        self.assertTrue(server.can_start(["x.py"], plain))
        self.assertTrue(server.can_start(["-m", "pytest"], {**plain, "TORCH_TESTING_SHIM_SEED": "1", "MARKS": "x"}))
        for words, environment in (
            (["-c", "pass"], plain),
            (["-B", "x.py"], plain),
            (["/y/run_test.py"], plain),
            (["x.py"], {**plain, "PYTHONPATH": "/elsewhere"}),
            (["x.py"], {**plain, "OMP_NUM_THREADS": "71"}),
            (["x.py"], {name: value for name, value in plain.items() if name != "PYTHONPATH"}),
        ):
            self.assertFalse(server.can_start(words, environment), (words, environment))

    def test_two_at_once(self) -> None:
        path = self.folder / "waits.py"
        path.write_text(
            "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\nprint(sys.argv)\n"
        )
        first, second = (self.start([str(path), name]) for name in "ab")
        (self.folder / "b").touch()
        self.assertEqual(0, self.finish(second, time.monotonic()).exit_code)
        self.assertIsNone(first.poll())
        (self.folder / "a").touch()
        self.assertIn("'a'", self.finish(first, time.monotonic()).output)


if __name__ == "__main__":
    run_tests()
