"""pytest's option and marks for these tests: `pytest -p torch_testing_shim.pytest_plugin --hw-classification CPU FILE`.

`addopts = -p torch_testing_shim.pytest_plugin` in a project's pytest configuration always loads it. Where PyTorch's own
conftest brings the option, that one applies and this one does nothing. PYTORCH_TEST_OMIT_SKIPPED applies, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from torch_testing_shim._shared.hardware import (
    HardwareChoice,
    HardwareError,
    add_hardware_option,
    choose_by_hardware,
)
from torch_testing_shim._shared.settings import read_settings

__all__: list[str] = []


@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(early_config: Any, parser: Any) -> Iterator[None]:
    """Add the option after the conftests, one of which may have it."""
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
