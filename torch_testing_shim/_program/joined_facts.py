"""The facts that torchrun's processes have to share before they run tests together: code, tests, settings, device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from torch_testing_shim._engine.devices import DeviceInUse
from torch_testing_shim._engine.joined.world import Member
from torch_testing_shim._engine.outcome import RankOutcome, RankStatus, members_text
from torch_testing_shim._program.options import ProgramOptions, UsageError
from torch_testing_shim._shared.launch import refusal_of
from torch_testing_shim._shared.settings import Settings

_PACKAGE = Path(__file__).parents[1]
#: The length of digests that people read.
_DIGITS = 12


def refuse_options(options: ProgramOptions) -> None:
    """Refuse what a launcher's process cannot do."""
    given = {
        "--subprocess": options.subprocess,
        "--run-parallel": options.run_parallel > 1,
        "--use-pytest": options.use_pytest,
        "--failfast": options.failfast,  # a process would stop alone where its tear-down fails
    }
    if refusal := refusal_of(given):
        raise UsageError(refusal)


def facts_of(names: Sequence[str], files: Iterable[str], settings: Settings, device: DeviceInUse) -> dict[str, str]:
    """Return what all processes have to have in common, in words. The files are the tests'."""
    text = b""
    for file in files:
        try:
            text += Path(file).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}") from None
    return {
        "torch_testing_shim": _digest(b"".join(path.read_bytes() for path in sorted(_PACKAGE.rglob("*.py")))),
        "torch": torch.__version__,
        "test file": _digest(text),
        "tests": f"{len(names)} ({_digest(chr(10).join(names).encode())})",
        "seed": str(settings.seed),
        "device": device.type if device.is_cpu else f"{device.count} {device.type} on each host",
        "seconds for a test": f"{settings.timeout_seconds:g}",
    }


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]


def differences(members: Sequence[Member], facts: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a line for each fact in which the processes differ, with who has what."""
    lines = []
    for name in facts[0]:
        groups: dict[str, list[RankOutcome]] = {}
        for member, one in zip(members, facts, strict=True):
            outcome = RankOutcome(member.rank, RankStatus.PASSED, host=member.host)
            groups.setdefault(one.get(name, "unknown"), []).append(outcome)
        if len(groups) > 1:
            each = [f"{value} on {members_text(outcomes)}" for value, outcomes in groups.items()]
            lines.append(f"    {name}: {'; '.join(each)}")
    return lines
