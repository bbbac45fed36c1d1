"""How torchrun has started a process: the variables that it sets for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Set by torchrun and by what builds on it, and by nothing else.
_RUN = "TORCHELASTIC_RUN_ID"
_NEEDED = (_RUN, "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Set by the runner.
PART_VARIABLE = "TORCH_TESTING_SHIM_LAUNCH_PART"
#: The launch's own variables, and the prefixes of others. RANK and WORLD_SIZE mean something to tests.
_TAKEN = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "LOCAL_WORLD_SIZE", PART_VARIABLE)
_TAKEN_PREFIXES = ("TORCHELASTIC_", "GROUP_", "ROLE_")


@dataclass(frozen=True)
class Launch:
    """How torchrun has started this process."""

    #: Which process of how many.
    rank: int
    world_size: int
    local_world_size: int  # processes on this host
    #: Of the store; `has_store` says that torchrun runs it, else rank 0 has to.
    address: str
    port: int
    has_store: bool
    #: The run of the runner that has started the file, "/", and the number of the file's process in it; empty where
    #: torchrun has started the file itself.
    part: str = ""


def launch_in(env: Mapping[str, str]) -> Launch | None:
    """Return how torchrun has started the process with this environment; None where it has not."""
    if not all(env.get(name) for name in _NEEDED):
        return None
    return Launch(
        int(env["RANK"]),
        int(env["WORLD_SIZE"]),
        int(env.get("LOCAL_WORLD_SIZE") or 1),
        env["MASTER_ADDR"],
        int(env["MASTER_PORT"]),
        env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        env.get(PART_VARIABLE, ""),
    )


def refusal_of(options: Mapping[str, object]) -> str | None:
    """Return the sentence that refuses the first of these options that is given; None where none is."""
    given = next((name for name, value in options.items() if value), None)
    return given and f"{given} cannot be combined with torchrun, whose processes are the ranks of every test"


def is_of_launch(variable: str) -> bool:
    """Return whether a variable is the launch's own, and missing in ranks that no launcher has started."""
    return variable in _TAKEN or variable.startswith(_TAKEN_PREFIXES)
