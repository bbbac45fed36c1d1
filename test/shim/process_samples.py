"""Processes of the runner, for tests that start them without the command around them."""

from __future__ import annotations

import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_testing_shim._runner.process.child_process import reap_orphans
from torch_testing_shim._runner.process.command import FileCommand
from torch_testing_shim._runner.process.file_process import FileProcess, Shown
from torch_testing_shim._runner.process.start import Starter
from torch_testing_shim._runner.result import FileEnding
from torch_testing_shim._shared.journal import JournalContents
from torch_testing_shim._shared.journal_reading import JournalNews
from torch_testing_shim.common_utils import TestCase

ROOT = Path(__file__).resolve().parents[2]

#: How long one process may take, in seconds: it takes a fraction of one, and a loaded machine some more.
PROCESS_TIMEOUT = 60.0


class Listener:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.output = b""
        self.news: list[JournalNews] = []

    def on_output(self, chunk: bytes) -> None:
        self.output += chunk

    def on_journal(self, news: JournalNews) -> None:
        self.news.append(news)

    def on_look(self) -> None:
        pass


@dataclass(frozen=True)
class ProcessRun:
    """The traces of a process."""

    ending: FileEnding
    output: str
    journal: JournalContents

    @property
    def exit_code(self) -> int:
        return self.ending.exit_code


class ProcessTestCase(TestCase):
    """Runs files in processes of their own, by a starter that each test has for itself.

    Attributes:
        said: the lines that the starter has said.
    """

    #: Modules that the warm interpreter of a test imports: none, unless the test is about torch.
    preload: Sequence[str] = ()

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="process-samples-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.said: list[str] = []
        self.starter = Starter(self.folder, self.said.append, preload=self.preload)
        self.addCleanup(reap_orphans, ())  # last: what the runner would have collected meanwhile
        self.addCleanup(self.starter.close)
        self._count = 0

    def write(self, text: str, name: str = "test_x.py") -> Path:
        path = self.folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def start(
        self,
        path: Path,
        *arguments: str,
        is_warm: bool = False,
        seconds: float | None = None,
        variables: Mapping[str, str] | None = None,
        harness: Sequence[str] | None = None,
        shown: Shown | None = None,
    ) -> tuple[FileProcess, Listener]:
        self._count += 1
        command = FileCommand(
            "test_x",
            str(path),
            arguments,
            harness=None if harness is None else tuple(harness),
            variables=variables or {},
            package=str(ROOT),
        )
        listener = Listener()
        more = [shown] if shown else []
        folder = self.folder / str(self._count)
        process = FileProcess(command, folder, self.starter, listener, *more, seconds=seconds, is_warm=is_warm)
        self.addCleanup(process.close)
        return process, listener

    def finish(self, process: FileProcess, listener: Listener, *, is_to_stop: bool = False) -> ProcessRun:
        deadline = time.monotonic() + PROCESS_TIMEOUT
        while not process.step(is_to_stop=is_to_stop):
            self.assertLess(time.monotonic(), deadline, "the process did not end")
            time.sleep(0.005)
        assert process.ending is not None
        return ProcessRun(process.ending, listener.output.decode(errors="replace"), process.journal)

    def run_file(
        self,
        path: Path,
        *arguments: str,
        is_warm: bool = False,
        seconds: float | None = None,
        variables: Mapping[str, str] | None = None,
        harness: Sequence[str] | None = None,
    ) -> ProcessRun:
        """Run `python PATH ARGUMENT ...` to its end, with `harness` by `python -m torch_testing_shim HARNESS ...`."""
        process, listener = self.start(
            path, *arguments, is_warm=is_warm, seconds=seconds, variables=variables, harness=harness
        )
        return self.finish(process, listener)
