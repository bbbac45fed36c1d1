"""Changes that `setUp`, `setUpClass` and fixtures make to the test process hold in ranks, whichever test is first."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import torch

from torch_testing_shim._engine.process_state import as_ranks_start, changes_since, state_of_this_process, take_on
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

SAMPLE = """
import resource, tempfile, warnings
from pathlib import Path
from unittest import mock
from torch_testing_shim.common_distributed import MultiProcContinuousTest

HOME = os.path.dirname(os.path.abspath(__file__))
GLOBAL = "imported"

def change(case):
    undo = case.addClassCleanup if isinstance(case, type) else case.addCleanup
    patch = mock.patch.dict(os.environ, {
        "A_LARGE_ONE": "x" * 100_000, "NOT_UTF_8": "\\udcff", "TZ": "UTC+5", "OMP_NUM_THREADS": "2",
        "TORCH_DISTRIBUTED_DEBUG": "INFO",
    })
    patch.start()
    undo(patch.stop)
    os.environ.pop("TO_BE_REMOVED")
    undo(os.chdir, os.getcwd())
    os.makedirs(f"{HOME}/elsewhere", exist_ok=True)
    os.chdir(f"{HOME}/elsewhere")
    undo(sys.path.__setitem__, slice(None), list(sys.path))
    sys.path.insert(0, "/on/the/path")
    undo(sys.argv.__setitem__, slice(None), list(sys.argv))
    sys.argv.append("--more")
    undo(os.umask, os.umask(0o027))
    undo(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, signal.SIG_IGN))
    undo(signal.signal, signal.SIGPIPE, signal.signal(signal.SIGPIPE, signal.SIG_DFL))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    undo(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[0] - 1, limits[1]))
    undo(warnings.filters.__setitem__, slice(None), list(warnings.filters))
    warnings.filterwarnings("error", message="not this .*", category=RuntimeWarning)
    undo(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float64)
    undo(torch.set_default_device, None)
    torch.set_default_device("meta")
    undo(torch.use_deterministic_algorithms, False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    undo(torch.set_grad_enabled, True)
    torch.set_grad_enabled(False)
    global GLOBAL
    GLOBAL = "set up"

def check(case):
    warned = "no"
    try:
        warnings.warn("not this one", RuntimeWarning)
    except RuntimeWarning:
        warned = "raised"
    found = {
        "environment": [len(os.environ["A_LARGE_ONE"]), os.environ["NOT_UTF_8"], "TO_BE_REMOVED" in os.environ],
        "read at start": [time.timezone, torch.get_num_threads(), str(dist.get_debug_level())],
        "a child's": subprocess.run("echo $TZ $TO_BE_REMOVED", shell=True, capture_output=True).stdout,
        "folder": os.getcwd(),
        "path": sys.path[0],
        "arguments": sys.argv[-1],
        "umask": os.umask(0),
        "signals": [signal.getsignal(n) for n in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGTERM, signal.SIGINT)],
        "warning": warned,
        "torch": [str(torch.get_default_dtype()), str(torch.empty(1).device), torch.is_grad_enabled()],
        "determinism": torch.is_deterministic_algorithms_warn_only_enabled(),
        "python": GLOBAL,
        "class": type(case).attribute,
    }
    wanted = {
        "environment": [100_000, "\\udcff", False],
        "read at start": [5 * 3600, 2, "DebugLevel.INFO"],
        "a child's": b"UTC+5\\n",
        "folder": f"{HOME}/elsewhere",
        "path": "/on/the/path",
        "arguments": "--more",
        "umask": 0o027,
        "signals": [signal.SIG_IGN, signal.SIG_DFL, signal.SIG_DFL, signal.default_int_handler],
        "warning": "raised",
        "torch": ["torch.float64", "meta", False],
        "determinism": True,
        "python": "imported",
        "class": "imported",
    }
    torch.set_default_device("cpu")
    torch.set_grad_enabled(True)
    different = {name: (wanted[name], found[name]) for name in wanted if str(wanted[name]) != str(found[name])}
    case.assertEqual({}, different)
    # The harness's own settings stay.
    case.assertTrue(tempfile.gettempdir().startswith(os.environ["TMPDIR"]))

class OfClass:
    world_size = 1  # ranks are new interpreters here, and each imports torch
    attribute = "imported"

    @classmethod
    def setUpClass(cls):
        change(cls)
        cls.attribute = "set up"
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        cls.attribute = "imported"
        super().tearDownClass()

    def test_a(self):
        check(self)

class AtClass(OfClass, Spawning): pass

class InSetUp(MultiProcessTestCase):
    world_size = 1
    attribute = "imported"

    def setUp(self):
        change(self)
        type(self).attribute = "set up"
        self.addCleanup(setattr, type(self), "attribute", "imported")
        super().setUp()
        self._spawn_processes()

    def test_a(self):
        check(self)

class Kept(OfClass, MultiProcContinuousTest):
    @classmethod
    def backend_str(cls):
        return "gloo"

class InARemovedFolder(MultiProcessTestCase):
    world_size = 1

    def setUp(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.makedirs(f"{HOME}/removed")
        os.chdir(f"{HOME}/removed")
        os.rmdir(f"{HOME}/removed")
        self.addCleanup(sys.path.remove, Path("/not/a/text"))
        sys.path.append(Path("/not/a/text"))
        super().setUp()
        self._spawn_processes()

    def test_a(self):
        with self.assertRaises(FileNotFoundError):
            os.getcwd()

class WithoutChange(DTensorTestBase):
    world_size = 2

    @with_comms
    def test_a(self):
        self.assertNotIn("A_LARGE_ONE", os.environ)
        self.assertEqual(torch.get_default_dtype(), torch.float32)
        self.assertEqual(os.environ["TO_BE_REMOVED"], "1")
        self.assertEqual(os.environ.get("OF_FIXTURE"), os.environ.get("WANTED_OF_FIXTURE"))
"""

FIXTURE = """
import pytest

@pytest.fixture(autouse=True)
def changed(monkeypatch):
    monkeypatch.setenv("OF_FIXTURE", "1")
"""


def starts_in_a_removed_folder():
    """Whether a new Python can import its own modules there; that of 3.13.0 cannot."""
    program = "import os, subprocess, sys, tempfile; os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd());"
    program += "sys.exit(subprocess.run([sys.executable, '-c', 'import socket'], stderr=subprocess.DEVNULL).returncode)"
    return subprocess.run([sys.executable, "-c", program]).returncode == 0


class InRanks(SampleTestCase):
    def check(self, run):
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()}, run.output)

    def test_forked(self):
        self.check(self.run_sample(SAMPLE, TO_BE_REMOVED="1"))

    def test_spawned(self):
        spawn = {"TORCH_TESTING_SHIM_START_METHOD": "spawn"}
        classes = ["InSetUp", "Kept", *(["InARemovedFolder"] if starts_in_a_removed_folder() else [])]
        self.check(self.run_sample(SAMPLE, *classes, TO_BE_REMOVED="1", **spawn))

    def test_by_pytest(self):
        (self.folder / "conftest.py").write_text(FIXTURE)
        command = ("pytest", "-q", "-p", "no:cacheprovider", str(self.write_sample(SAMPLE)))
        run = self.run_command("-m", *command, TO_BE_REMOVED="1", WANTED_OF_FIXTURE="1")
        self.assertIn("5 passed", run.output)


class State(TestCase):
    def test_changes_travel_as_json(self):
        with mock.patch.dict(os.environ, {"GONE": "1"}):
            before = state_of_this_process()
        with mock.patch.dict(os.environ, {"NOT_UTF_8": "\udcff"}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="a.*", module="b")
            state = state_of_this_process()
        changes = changes_since(before, state)
        self.assertEqual({"GONE": None, "NOT_UTF_8": "\udcff"}, changes["environment"])
        self.assertEqual(["ignore", "a.*", "builtins:Warning", "b", 0], changes["warning_filters"][0])
        self.assertEqual({"environment", "warning_filters"}, changes.keys())
        self.assertEqual({}, changes_since(state, state))
        whole = json.loads(json.dumps(changes_since(None, state)))
        environment = whole.pop("whole_environment")
        self.assertEqual(state, {**whole, "environment": environment})

    def test_takes_on_and_back(self):
        before = state_of_this_process()
        wanted = {
            **before,
            "environment": {**before["environment"], "TAKEN_ON": "1"},
            "default_dtype": "torch.float64",
            "warning_filters": [["error", None, "no_such_module:Warning", None, 0], *before["warning_filters"]],
            "folder": None,
            "cores": before["cores"][-1:],
        }
        try:
            take_on(changes_since(before, wanted))
            self.assertEqual("1", os.environ["TAKEN_ON"])
            self.assertEqual(set(before["cores"][-1:]), os.sched_getaffinity(0))
            self.assertEqual(torch.float64, torch.get_default_dtype())
            self.assertEqual(before["warning_filters"], state_of_this_process()["warning_filters"])
            self.assertEqual(before["folder"], os.getcwd())
        finally:
            take_on(changes_since(wanted, before))
        self.assertEqual(before, state_of_this_process())

    def test_all_parts_where_nothing_is_known(self):
        before = state_of_this_process()
        take_on(changes_since(None, before))
        self.assertEqual(before, state_of_this_process())

    def test_ranks_take_signals_anew(self):
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.SIG_IGN))
        state = state_of_this_process()
        self.assertEqual({"ignored_signals": {"2": True}}, changes_since(as_ranks_start(state), state))

    def test_a_default_device_is_not_asked_for_its_index(self):
        self.addCleanup(torch.set_default_device, None)
        torch.set_default_device("meta")
        with mock.patch("torch.get_default_device", side_effect=AssertionError):
            self.assertEqual("meta", state_of_this_process()["default_device"])


if __name__ == "__main__":
    run_tests()
