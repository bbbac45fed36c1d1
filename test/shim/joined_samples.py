"""Samples whose processes are ranks of every test, as torchrun starts them, but forked from a warm server.

The store that torchrun would run is in the test process. Nothing ends the others when one has ended, as torchrun does:
`test_several_machines.py` has a run of torchrun itself.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness_samples import RUN_TIMEOUT, SampleTestCase
from torch._C._distributed_c10d import TCPStore
from warm_samples import WarmSample

from torch_testing_shim._shared.journal import JournalEntry
from torch_testing_shim._shared.journal_reading import read_journal
from torch_testing_shim._shared.launch import Launch

#: torchrun, whose processes are forks of its agent: a new interpreter for each takes much longer.
AGENT = """
import runpy
from dataclasses import replace
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args

def work(script, words):
    os.setsid()  # as torchrun starts its processes, which have none of its handlers either
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")

options = parse_args(sys.argv[1:])
config, _, _ = config_from_args(options)
elastic_launch(replace(config, start_method="fork"), work)(options.training_script, options.training_script_args)
sys.exit()
"""
Started = subprocess.Popen | WarmSample


@dataclass(frozen=True)
class JoinedSample:
    """The traces of a joined sample: exit codes and outputs by rank, the entries of the journal, wall time."""

    exit_codes: list[int]
    outputs: list[str]
    entries: dict[str, JournalEntry]
    seconds: float


class JoinedSampleTestCase(SampleTestCase):
    """Runs samples in joined processes."""

    def new_store(self) -> TCPStore:
        return TCPStore("localhost", 0, is_master=True, wait_for_workers=False)

    def run_joined(
        self,
        commands: Sequence[Sequence[str | Path]],
        address: str | None = None,
        own: Callable[[int], dict[str, str]] = lambda rank: {},
        meanwhile: Callable[[Sequence[Started]], object] = lambda ranks: None,
        store: TCPStore | Launch | None = None,
        **extra: str,
    ) -> JoinedSample:
        """Run one process for each command, in the order of ranks, and wait for their end.

        Args:
            address: where rank 0 has the store; by default, `store`.
            own: the variables of each rank.
            meanwhile: called with the processes once all have been started.
            store: has the port of a store on this machine; by default this process makes a new one. torchrun's restarts
                have that of the processes that they take the place of.
        """
        store = None if address else store or self.new_store()
        launch = {
            "TORCHELASTIC_RUN_ID": "sample",
            "TORCHELASTIC_USE_AGENT_STORE": str(store is not None),
            "MASTER_ADDR": address or "localhost",
            "MASTER_PORT": str(29500 if store is None else store.port),  # of a host that nobody else uses
            "WORLD_SIZE": str(len(commands)),
            "LOCAL_WORLD_SIZE": str(len(commands)),
        }
        began = time.monotonic()
        ranks = [
            self.start([str(word) for word in command], **launch, RANK=str(rank), **own(rank), **extra)
            for rank, command in enumerate(commands)
        ]
        meanwhile(ranks)
        outputs = [rank.communicate(timeout=RUN_TIMEOUT)[0] for rank in ranks]
        journal = read_journal(self.folder / "journal")
        (self.folder / "journal").unlink(missing_ok=True)
        entries = {entry.test: entry for entry in journal.entries}
        return JoinedSample([rank.returncode or 0 for rank in ranks], outputs, entries, time.monotonic() - began)
