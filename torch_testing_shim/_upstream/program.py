"""`python -m torch_testing_shim FILE [ARGUMENT ...]`: an upstream test file as it is, on this harness.

`--map-device cuda=cpu` before FILE maps devices (see `mapped_devices`).
`python -m torch_testing_shim --report-surface PATH ...` runs nothing and lists what the files import (see `surface`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

from torch_testing_shim._device_map import DeviceMap, parse_device_map
from torch_testing_shim._settings import read_settings
from torch_testing_shim._upstream.device_table import table_text
from torch_testing_shim._upstream.redirect import install
from torch_testing_shim._upstream.surface import SurfaceError, surface_report

__all__ = ["become_file"]

USAGE = "usage: python -m torch_testing_shim [--map-device FROM=TO] FILE [ARGUMENT ...], or --report-surface PATH ..."
WRONG_USAGE = 2
#: The module that multiprocessing's spawn is told is the main one.
_AGAIN = f"{__package__}.again"
_PACKAGE_FOLDER = str(Path(__file__).parents[2])


def become_file(main_names: dict[str, Any]) -> CodeType:
    """Makes the process look as if `python FILE ARGUMENT ...` had been typed, with the redirect in place.

    Args:
        main_names: the names of the main module, in which the file is to run.

    Returns:
        The file's code.

    Raises:
        SystemExit: nothing is to run (0), or the command line is wrong (2).
    """
    if main_names["__name__"] == "__main__":
        _take_own_arguments()
        os.environ["TORCH_TESTING_SHIM_UPSTREAM_FILE"] = os.path.abspath(sys.argv[0])
    settings = read_settings()
    path = settings.upstream_file  # where multiprocessing starts a process, its argv does not tell
    assert path is not None
    sys.path[:1] = [os.path.dirname(path)]
    if _PACKAGE_FOLDER not in sys.path:  # -m may have found the package where the user was
        sys.path.append(_PACKAGE_FOLDER)
    main_names.update(__file__=path, __doc__=None, __spec__=importlib.util.find_spec(_AGAIN), __package__=None)
    install()
    if settings.device_map is not None:
        _map_devices(settings.device_map)
    return _code_of(path)


def _map_devices(devices: DeviceMap) -> None:
    from torch_testing_shim._upstream.mapped_devices import install_device_map  # imports FSDP

    try:
        install_device_map(devices)
    except ValueError as error:
        _refuse(str(error))


def _code_of(path: str) -> CodeType:
    try:
        with open(path, "rb") as stream:
            return compile(stream.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        _refuse(f"cannot read {path!r}: {error.strerror}")
    except (SyntaxError, ValueError) as error:
        _refuse(f"cannot run {path!r}: {error}")


def _take_own_arguments() -> None:
    if sys.argv[1:2] == ["--report-surface"]:
        _report_surface(sys.argv[2:])
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, "", "What --map-device cuda=cpu answers:", "", *table_text(), sep="\n")
        raise SystemExit(0)
    if arguments[:1] == ["--map-device"] and len(arguments) > 1:
        _take_map(arguments[1])
        arguments = arguments[2:]
    if not arguments or arguments[0].startswith("-"):
        _refuse(USAGE)
    sys.argv = arguments


def _take_map(text: str) -> None:
    """Sets what this process and those that it starts are to find in the environment."""
    try:
        devices = parse_device_map(text)
    except ValueError as error:
        _refuse(f"--map-device {error}")
    os.environ["TORCH_TESTING_SHIM_MAP_DEVICE"] = text
    os.environ["TORCH_TESTING_SHIM_DEVICE"] = devices.target


def _report_surface(paths: list[str]) -> NoReturn:
    try:
        print(surface_report(paths))
    except SurfaceError as error:
        _refuse(str(error))
    raise SystemExit(0)


def _refuse(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    raise SystemExit(WRONG_USAGE)
