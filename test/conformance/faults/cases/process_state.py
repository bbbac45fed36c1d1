"""A rank changes what belongs to its process and passes: the verdict is a pass, and no other test notices."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import threading
import time

import torch
import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, Faulty
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class Changes(Faulty, DTensorTestBase):
    @ends(Ending.PASSED)
    @with_comms
    def test_folder(self):
        """Changes to a folder that it then removes."""
        self.meet()
        if self.is_guilty:
            self.strike()
            gone = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"gone-{os.getpid()}")
            os.mkdir(gone)
            os.chdir(gone)
            os.rmdir(gone)
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_umask(self):
        """Lets nobody read what it writes, itself included."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.umask(0o777)
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_environment(self):
        """Empties the environment."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.environ.clear()
        dist.barrier()

    @ends(
        Ending.ERROR,
        "rank 1 errored: SettingsError: DISTRIBUTED_TESTS_DEFAULT_TIMEOUT is 'soon'; it must be",
        ours_only="upstream reads its settings once",
    )
    @with_comms
    def test_settings(self):
        """Sets the harness's own variables to what they cannot be."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.environ["DISTRIBUTED_TESTS_DEFAULT_TIMEOUT"] = "soon"
            os.environ["TORCH_TESTING_SHIM_FULL_TRACEBACK"] = "perhaps"
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_signal_handlers(self):
        """Ignores every signal that can be ignored, and blocks all."""
        self.meet()
        if self.is_guilty:
            self.strike()
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_leaves_its_process_group(self):
        """Leaves its process group for its parent's."""
        self.meet()
        if self.is_guilty:
            self.strike()
            os.setpgid(0, os.getpgid(os.getppid()))
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_torch(self):
        """Changes torch's default type, seed and mode."""
        self.meet()
        if self.is_guilty:
            torch.set_default_dtype(torch.float64)
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(7)
            self.strike()
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_modules(self):
        """Takes standard modules out of sys.modules and breaks a function of one."""
        self.meet()
        if self.is_guilty:
            self.strike()
            sys.modules.pop("json")
            sys.modules.pop("traceback")
            time.sleep = None
        dist.barrier()

    @ends(Ending.PASSED, ours_only="upstream's ranks share the system's temporary folder")
    @with_comms
    def test_removes_the_scratch_folder(self):
        """Removes its test's whole scratch folder."""
        self.meet()
        if self.is_guilty:
            self.strike()
            shutil.rmtree(os.path.dirname(os.environ["TMPDIR"]))

    @ends(Ending.PASSED)
    def test_locked_folder(self):
        """Leaves a folder that nobody may enter."""
        if self.is_guilty:
            self.strike()
            folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"locked-{os.getpid()}", "below")
            os.makedirs(folder)
            os.chmod(os.path.dirname(folder), 0)


class Threads(Faulty, DTensorTestBase):
    @ends(Ending.PASSED)
    @with_comms
    def test_thread_without_end(self):
        """Starts a thread that never ends and is no daemon."""
        self.meet()
        if self.is_guilty:
            self.strike()
            threading.Thread(target=time.sleep, args=(FOREVER,)).start()
        dist.barrier()

    @ends(Ending.PASSED)
    @with_comms
    def test_handler_at_exit_without_end(self):
        """Registers a handler for its exit that never returns; ranks end without running those."""
        self.meet()
        if self.is_guilty:
            self.strike()
            atexit.register(time.sleep, FOREVER)
        dist.barrier()

    @ends(Ending.ERROR, r"rank 1 errored: ValueError: boom$")
    @with_comms
    def test_thread_without_end_and_raises(self):
        """Starts a thread that never ends, and raises."""
        self.meet()
        if self.is_guilty:
            self.strike()
            threading.Thread(target=time.sleep, args=(FOREVER,)).start()
            raise ValueError("boom")
        dist.barrier()
