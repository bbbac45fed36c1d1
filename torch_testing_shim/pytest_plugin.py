"""A plugin of pytest: functions on ranks, and the option and marks of test classes.

`@pytest.mark.ranks(4)` above a function, a class or a module's `pytestmark` runs tests on 4 ranks, with the fixtures
`rank`, `world_size`, `device`, `process_group`, `device_mesh`, `shared_tmp_path` and `agreed`; docs/pytest.md describes
them. `--hw-classification CPU` chooses test classes; where PyTorch's own conftest brings the option, that one applies
and this one does nothing. PYTORCH_TEST_OMIT_SKIPPED applies, too.

pytest finds the plugin where the package is installed. Elsewhere `-p torch_testing_shim.pytest_plugin` loads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

from torch_testing_shim._shared.hardware import (
    HardwareChoice,
    HardwareError,
    add_hardware_option,
    choose_by_hardware,
)
from torch_testing_shim._shared.settings import read_launch, read_settings

if TYPE_CHECKING:
    import torch.distributed as dist

__all__: list[str] = []

pytest_plugins = ["torch_testing_shim._pytest_ranks.hooks", "torch_testing_shim._pytest_ranks.fixtures"]


@pytest.fixture
def agreed(process_group: dist.ProcessGroup) -> Callable[..., AbstractContextManager[None]]:
    """`with agreed():` makes all ranks fail together where the block fails in one of them."""
    from torch_testing_shim.distributed.agreement import agreed_between_ranks

    return agreed_between_ranks


@pytest.hookimpl(hookwrapper=True, tryfirst=True)  # before pytest captures output
def pytest_load_initial_conftests(early_config: Any, parser: Any) -> Iterator[None]:
    """Add the option unless a conftest has it. Under torchrun, join the other processes."""
    if (launch := read_launch()) is not None:
        from torch_testing_shim._pytest_ranks.joined_session import JoinedSession

        early_config.pluginmanager.register(JoinedSession(launch), "torch_testing_shim_joined_session")
    yield
    try:
        add_hardware_option(parser.addoption)
    except ValueError:
        return
    early_config.pluginmanager.register(_ByHardware(), "torch_testing_shim_by_hardware")


def pytest_configure(config: Any) -> None:
    """Register the marks that the harness sets."""
    config.addinivalue_line("markers", "serial: not to run beside other tests")
    config.addinivalue_line("markers", "multigpu: needs at least two accelerators")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Leave out tests that unittest's decorators have marked as skipped, where the environment asks for that."""
    if read_settings().omit_skipped:
        items[:] = [item for item in items if not getattr(getattr(item, "obj", None), "__unittest_skip__", False)]


class _ByHardware:
    """Leaves out tests of other classes; pytest calls the methods by their names."""

    def __init__(self) -> None:
        self._choice: HardwareChoice[Any] | None = None

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        names = tuple(dict.fromkeys(config.getoption("hw_classification")))
        if not names:
            return
        try:
            self._choice = choose_by_hardware(items, names, lambda item: getattr(item, "cls", None))
        except HardwareError as error:
            raise pytest.UsageError(str(error)) from None
        items[:] = self._choice.chosen
        config.hook.pytest_deselected(items=self._choice.left_out)

    def pytest_report_collectionfinish(self) -> list[str]:
        return [] if self._choice is None else [str(self._choice)]
