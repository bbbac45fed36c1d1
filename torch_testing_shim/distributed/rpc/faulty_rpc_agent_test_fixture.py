"""The fault-injecting agent's fixture of PyTorch's own RPC suites, at upstream's path; here its name only says so."""

from __future__ import annotations

from torch_testing_shim._absent_names import AbsentName

__all__ = ["FaultyRpcAgentTestFixture"]

FaultyRpcAgentTestFixture = AbsentName(
    f"{__name__}.FaultyRpcAgentTestFixture", "is a fixture of PyTorch's own test suites of RPC"
)
