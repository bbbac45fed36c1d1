"""A fork of the warm interpreter is what `python FILE` would be: each file here runs both ways, and tells the same.

The interpreter of these tests has imported nothing, since torch makes no difference to what is compared.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from unittest import mock

from torch_testing_shim._runner.process import start
from torch_testing_shim._runner.process.start import Starter
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from process_samples import ProcessRun, ProcessTestCase

#: Facts that a process can see of itself and has in common with another of the same command.
PROBE = '''
"""The docstring."""
import atexit, io, json, os, resource, signal, sys, threading

def number(name):
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith(name)), 16)

class Here:
    pass

differs = {"TMPDIR", "TORCH_TESTING_SHIM_JOURNAL", "TORCH_TESTING_SHIM_RUNNER_MARK"}
main = sys.modules["__main__"]
facts = {
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "executable": sys.executable,
    "main": {name: str(type(value)) for name, value in vars(main).items()}, "is main": vars(main) is globals(),
    "names": [__name__, __file__, __doc__, __package__, __spec__, __cached__, Here.__module__],
    "loader": [type(__loader__).__name__, __loader__.name, __loader__.path],
    "environment": {name: value for name, value in os.environ.items() if name not in differs},
    "differs": sorted(differs - os.environ.keys()), "TMPDIR": os.path.isdir(os.environ["TMPDIR"]),
    "folder": os.getcwd(), "stdin": sys.stdin.read(), "umask": os.umask(0o22), "flags": str(sys.flags),
    "streams": [(s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.fileno(), s.mode, s.name)
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()], "parent": os.getppid(),
    "signals": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
    "masks": [number("SigBlk"), number("SigIgn"), number("SigCgt")],
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:3],
    "more descriptors": len(os.listdir("/proc/self/fd")),
    "threads": [len(os.listdir("/proc/self/task")), threading.current_thread() is threading.main_thread()],
    "limits": [resource.getrlimit(n) for n in range(16)], "hooks": sys.excepthook is sys.__excepthook__,
    "same file": [os.fstat(1) == os.fstat(2), os.path.samestat(os.fstat(0), os.stat(os.devnull))],
}
print(json.dumps(facts))
'''

#: Ways to end, by name: the body of a file.
ENDS = {
    "nothing": "",
    "status": "import sys; sys.exit(3)",
    "large status": "import sys; sys.exit(256 + 7)",
    "negative status": "import sys; sys.exit(-1)",
    "text": "import sys; sys.exit('the reason')",
    "none": "raise SystemExit",
    "at once": "import os; print('printed'); os._exit(4)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "aborted": "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.abort()",
    "own group": "import os; os.killpg(0, 15)",
    "error": "def f():\n    1 / 0\nprint('before')\nf()\n",
    "chained": "try:\n    1 / 0\nexcept Exception as e:\n    raise ValueError('second') from e\n",
    "syntax": "def f(:\n",
    "indentation": "  x = 1\n",
    "not utf-8": "# -*- coding: latin-1 -*-\nprint('\u00e4'.encode())\n",
    "interrupted": "import os, signal\ndef f():\n    os.kill(os.getpid(), signal.SIGINT)\nf()\n",
    "raised interrupt": "raise KeyboardInterrupt('by hand')",
    "own hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__, a[2].tb_lineno)\n1 / 0\n",
    "future": "from __future__ import annotations\ndef f(x: nothing): pass\nprint(f.__annotations__)\n",
    "no future": "def f(x: int): pass\nprint(f.__annotations__)\n",
    "atexit": "import atexit\natexit.register(print, 'first')\natexit.register(print, 'last')\nprint('body')\n",
    "atexit error": "import atexit\n@atexit.register\ndef f():\n    1 / 0\n",
    "atexit status": "import atexit, os\natexit.register(os._exit, 9)\n",
    "thread": (
        "import threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread ended'))).start()\nprint('body')\n"
    ),
    "daemon": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n",
    "object": "class Ends:\n    def __del__(self):\n        print('object ended')\nends = Ends()\nends.itself = ends\n",
    "finalizer": "import weakref\nclass C: pass\nc = C()\nweakref.finalize(c, print, 'finalized')\nprint('body')\n",
    "closed output": "import sys\nprint('printed')\nsys.stdout.close()\n",
    "closed descriptors": "import os\nos.close(1)\nos.close(2)\n",
    "writes to stdin": "import os\ntry:\n    os.write(0, b'x')\nexcept OSError as e:\n    print(e.strerror)\n",
    "buffered": "import sys, io\nsys.stdout = io.TextIOWrapper(open(1, 'wb', closefd=False))\nprint('in a buffer')\n",
    "fork": "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nprint('parent' if pid else 'child')\n",
    "recursion": "def f():\n    return f()\nf()\n",
    "pickle": (
        "import pickle\nclass C:\n    x = 1\nprint(pickle.loads(pickle.dumps(C())).x, C.__module__)\n"
        "import inspect; print(inspect.getsource(C))\n"
    ),
    "spawn": (
        "import multiprocessing, os\nclass C:\n    def __init__(self, x): self.x = x\n"
        "def f(c, queue): queue.put((c.x, __name__, os.path.basename(__file__)))\n"
        "if __name__ == '__main__':\n    m = multiprocessing.get_context('spawn')\n    q = m.Queue()\n"
        "    p = m.Process(target=f, args=(C(5), q))\n    p.start()\n    print(q.get())\n"
        "    p.join()\n    print(p.exitcode)\n"
    ),
    "faulthandler": (
        "import faulthandler, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nfaulthandler.enable()\n"
        "def here():\n    faulthandler.dump_traceback()\nhere()\n"
    ),
}


def anonymous(output: str) -> str:
    """An output without the addresses, process and thread ids that differ from run to run."""
    output = re.sub(r"0x[0-9a-f]+|(?<=pid=)\d+|(?<=repeated )\d+", "...", output)
    # below the file's own frame, a fork shows those of the interpreter that it was forked from
    return re.sub(
        r'(?m)^  File ".*/warm/\w+\.py", line \d+ in .*\n|^  File "<string>", line \d+ in <module>\n', "", output
    )


class BothWays(ProcessTestCase):
    def both(self, source: str, *arguments: str) -> tuple[ProcessRun, ProcessRun]:
        path = self.write(source)
        cold, warm = (self.run_file(path, *arguments, is_warm=is_warm) for is_warm in (False, True))
        self.assertEqual([], self.said, "it did not run warm")
        return cold, warm

    def test_what_a_process_sees_of_itself(self) -> None:
        cold, warm = self.both(PROBE, "one", "--two", "", "three\nlines", "\u00e4")
        facts = [json.loads(run.output) for run in (cold, warm)]
        for name in facts[0]:
            self.assertEqual(facts[0][name], facts[1][name], name)
        self.assertEqual(os.getpid(), facts[1]["parent"])
        self.assertEqual([], facts[1]["differs"])

    def test_every_end(self) -> None:
        for name, source in ENDS.items():
            with self.subTest(name):
                cold, warm = self.both(source)
                self.assertEqual(
                    (cold.exit_code, anonymous(cold.output), cold.ending.processes_left),
                    (warm.exit_code, anonymous(warm.output), warm.ending.processes_left),
                )

    def test_the_ends_are_what_they_are_said_to_be(self) -> None:
        """The comparison above would hold, too, if nothing ran."""
        told = {
            name: self.run_file(self.write(ENDS[name]), is_warm=True) for name in ("killed", "error", "thread", "spawn")
        }
        self.assertEqual(-signal.SIGKILL, told["killed"].exit_code)
        self.assertEqual("body\nthread ended\n", told["thread"].output)
        self.assertEqual("(5, '__mp_main__', 'test_x.py')\n0\n", told["spawn"].output)
        path = self.folder / "files" / "test_x.py"
        lines = [line for line in told["error"].output.splitlines() if not line.strip().startswith("^")]
        self.assertEqual(
            [
                "before",
                "Traceback (most recent call last):",
                f'  File "{path}", line 4, in <module>',
                "    f()",
                f'  File "{path}", line 2, in f',
                "    1 / 0",
                "ZeroDivisionError: division by zero",
            ],
            [line for line in lines if "~" not in line],
        )

    def test_finalizers_of_the_interpreter_are_called_where_it_ends_as_python_does(self) -> None:
        """As torch's libraries of operators have them: it takes longer to call them than a small test."""
        keeps = (
            "import weakref\nclass Library: pass\nlibrary = Library()\nweakref.finalize(library, print, 'taken out')\n"
        )
        modules = self.folder / "modules"
        modules.mkdir()
        (modules / "operators.py").write_text(keeps)
        self.starter = Starter(self.folder, self.said.append, preload=["operators"])
        self.addCleanup(self.starter.close)
        told = {}
        for name, more in {
            "quick": "",
            "daemon": ENDS["daemon"],
            "early": "del operators.library\nprint('body')\n",
        }.items():
            path = self.write(f"import operators\n{more}", f"test_{name}.py")
            with mock.patch.dict(os.environ, {"PYTHONPATH": str(modules)}):
                run = self.run_file(path, is_warm=True)
            told[name] = (run.exit_code, run.output)
        self.assertEqual([], self.said, "it did not run warm")
        self.assertEqual({"quick": (0, ""), "daemon": (0, "taken out\n"), "early": (0, "taken out\nbody\n")}, told)

    def test_a_temporary_folder_of_an_imported_module_stays_for_the_next_file(self) -> None:
        """`torch.distributed.nn.jit.instantiator` makes one when it is imported, and writes modules there."""
        modules = self.folder / "modules"
        modules.mkdir()
        (modules / "keeps.py").write_text("import tempfile\nfolder = tempfile.TemporaryDirectory()\n")
        self.starter = Starter(self.folder, self.said.append, preload=["keeps"])
        self.addCleanup(self.starter.close)
        path = self.write(f"import keeps, os\nprint(os.path.exists(keeps.folder.name))\n{ENDS['daemon']}")
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(modules)}):
            told = [self.run_file(path, is_warm=True).output for _ in range(2)]
        self.assertEqual((["True\n"] * 2, []), (told, self.said))
        self.assertEqual(1, len(list(self.folder.glob("warm-*/tmp/*"))), "the runner removes it")

    def test_what_a_file_changes_does_not_reach_the_next(self) -> None:
        self.write(
            "import json, os, sys\njson.dumps = None\nos.environ['LEFT'] = '1'\nsys.path.clear()\nos.chdir('/')\n"
        )
        self.assertEqual(0, self.run_file(self.folder / "files" / "test_x.py", is_warm=True).exit_code)
        source = (
            "import json, os, sys\nprint(json.dumps is None, 'LEFT' in os.environ, len(sys.path) > 2, os.getcwd())\n"
        )
        self.assertEqual(f"False False True {os.getcwd()}\n", self.run_file(self.write(source), is_warm=True).output)

    def test_random_numbers_differ_from_file_to_file(self) -> None:
        path = self.write("import random, os\nprint(random.random(), os.urandom(4))\n")
        self.assertNotEqual(self.run_file(path, is_warm=True).output, self.run_file(path, is_warm=True).output)

    def test_a_script_behind_a_link_finds_its_neighbours(self) -> None:
        self.write("x = 5\n", "neighbour.py")
        (self.folder / "link.py").symlink_to(
            self.write("import neighbour, sys\nprint(neighbour.x, sys.argv, __file__)\n")
        )
        cold, warm = (self.run_file(self.folder / "link.py", is_warm=is_warm) for is_warm in (False, True))
        self.assertEqual(cold.output, warm.output)
        self.assertIn("5 [", warm.output)


#: A file of PyTorch's that says where it is, what serves it, and on which device it lands.
UPSTREAM = """
import json, sys
import torch
from torch.testing._internal.common_utils import TestCase, run_tests
from torch.testing._internal import common_distributed

class Mapped(TestCase):
    def test_device(self):
        self.assertEqual(torch.device("cuda"), torch.ones(1, device="cuda").device)
        print(TestCase.__module__, common_distributed.__name__, torch.ones(1, device="cuda").numpy().tolist())

    def test_skipped(self):
        self.skipTest("not here")

if __name__ == "__main__":
    paths = [path for path in sys.path if not path.rpartition("/")[2].startswith("tmp")]  # torch 2.6 adds one
    print(json.dumps([sys.argv, sys.orig_argv[1:], paths, __name__, __file__, __package__, __spec__.name]))
    run_tests()
"""


class Upstream(ProcessTestCase):
    preload = ("torch",)

    def test_a_file_of_pytorch_is_served_alike_and_wrong_usage_told_alike(self) -> None:
        path = self.write(UPSTREAM)
        harness = ("--map-device", "cuda=cpu")
        cold, warm = (self.run_file(path, "-v", is_warm=is_warm, harness=harness) for is_warm in (False, True))
        self.assertEqual([], self.said, "it did not run warm")
        facts, *lines = re.sub(r"\d\.\d+s", "0s", cold.output).splitlines()
        self.assertEqual([str(path), "-v"], json.loads(facts)[0], cold.output)
        self.assertEqual([facts, *lines], re.sub(r"\d\.\d+s", "0s", warm.output).splitlines())
        self.assertIn("torch_testing_shim.common_utils torch_testing_shim.common_distributed [1.0]", cold.output)
        told = [[(entry.test, entry.status, entry.notes) for entry in run.journal.entries] for run in (cold, warm)]
        self.assertEqual(*told)
        self.assertEqual((0, 0, 2), (cold.exit_code, warm.exit_code, len(told[0])))

        path = self.write("import torch\n")
        harness = ("--map-device", "cuda")
        cold, warm = (self.run_file(path, is_warm=is_warm, harness=harness) for is_warm in (False, True))
        self.assertEqual((2, cold.output), (warm.exit_code, warm.output))
        self.assertIn("--map-device", warm.output)

    def test_another_interpreter_is_not_run_warm(self) -> None:
        with mock.patch.object(start, "own_interpreter", lambda: (sys.executable, "-X", "dev")):
            run = self.run_file(self.write("print('ran')"), is_warm=True)
        self.assertEqual("ran\n", run.output)
        self.assertEqual(["test_x runs in a new interpreter: its command is not `python FILE`"], self.said)


if __name__ == "__main__":
    run_tests()
