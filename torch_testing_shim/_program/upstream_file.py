"""`python -m torch_testing_shim FILE [ARGUMENT ...]`: an upstream test file as it is, on this harness.

`python -m torch_testing_shim --pytest [ARGUMENT ...]` runs pytest in place of a file (see `upstream_pytest`).
`--map-device cuda=cpu` before either maps devices (see `mapped_devices`).
`python -m torch_testing_shim --report-surface PATH ...` runs nothing and lists what the files import (see `surface`).
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

from torch_testing_shim._shared.device_map import DeviceMap, parse_device_map
from torch_testing_shim._shared.exit_status import ExitStatus
from torch_testing_shim._shared.main_part import BY_PYTEST, read_main_part
from torch_testing_shim._shared.settings import Settings, SettingsError, read_settings
from torch_testing_shim._upstream.device_table import table_text
from torch_testing_shim._upstream.redirect import install, is_installed
from torch_testing_shim._upstream.surface import SurfaceError, surface_report

USAGE = (
    "usage: python -m torch_testing_shim [--map-device FROM=TO] FILE [ARGUMENT ...], or --pytest [ARGUMENT ...] in "
    "place of FILE, or --report-surface PATH ..."
)
#: The main module for multiprocessing's spawn.
_AGAIN = f"{__package__}.again"
_PACKAGE = __package__.partition(".")[0]
_PACKAGE_FOLDER = str(Path(__file__).parents[2])


def become_file(main_names: dict[str, Any]) -> CodeType:
    """Make the process look as if `python FILE ARGUMENT ...` had been typed, with the redirect in place; or run
    pytest.

    Args:
        main_names: the names of the main module, in which the file is to run.

    Returns:
        The file's code.

    Raises:
        SystemExit: nothing is to run (0), the command line is wrong (2), the file as a script would run none of its
            tests (5), or pytest has run (its exit status).
    """
    is_first = main_names["__name__"] == "__main__"
    if is_first:
        _take_own_arguments()
    settings = _settings()
    path = settings.upstream_file  # where multiprocessing starts a process, its argv does not tell
    if path is None:
        serve_under_pytest(main_names)
        if is_first:
            _run_pytest(main_names)
        return compile("", __file__, "exec")
    sys.path[:1] = [os.path.dirname(path)]
    _look_like_file(main_names, path)
    code = _code_of(path)
    _serve(settings)
    return code


def serve_under_pytest(main_names: dict[str, Any] | None = None) -> None:
    """Put the redirect in place in a process of pytest's, and in those that multiprocessing starts from it."""
    if not is_installed():
        names = vars(sys.modules["__main__"]) if main_names is None else main_names
        names["__spec__"] = importlib.util.find_spec(_AGAIN)
        _serve(_settings())


def _look_like_file(main_names: dict[str, Any], path: str) -> None:
    main_names.update(__file__=path, __doc__=None, __spec__=importlib.util.find_spec(_AGAIN), __package__=None)


def _serve(settings: Settings) -> None:
    if _PACKAGE_FOLDER not in sys.path:  # -m may have found the package where the user was
        sys.path.append(_PACKAGE_FOLDER)
    install()
    if settings.device_map is not None:
        _map_devices(settings.device_map)


def _settings() -> Settings:
    try:
        return read_settings()
    except SettingsError as error:
        _refuse(str(error))


def _run_pytest(main_names: dict[str, Any]) -> NoReturn:
    try:
        import pytest.__main__ as pytests
    except ImportError:
        _refuse(f"{BY_PYTEST} needs pytest, which is not installed")
    from torch_testing_shim._program.upstream_pytest import run_pytest

    arguments = sys.argv[1:]
    main_names["__file__"] = sys.argv[0] = str(pytests.__file__)
    raise SystemExit(run_pytest(arguments))


def _map_devices(devices: DeviceMap) -> None:
    from torch_testing_shim._upstream.mapped_devices import install_device_map  # imports FSDP

    try:
        install_device_map(devices)
    except ValueError as error:
        _refuse(str(error))


def _code_of(path: str) -> CodeType:
    try:
        with open(path, "rb") as stream:
            source = stream.read()
        code = compile(source, path, "exec", dont_inherit=True)
    except OSError as error:
        _refuse(f"cannot read {path!r}: {error.strerror}")
    except (SyntaxError, ValueError) as error:
        _refuse(f"cannot run {path!r}: {error}")
    part = read_main_part(source)
    if part.runs_nothing:
        why = "has relative imports" if part.is_in_package else "has no main part"
        command = shlex.join(["python", "-m", _PACKAGE, BY_PYTEST, path])
        _refuse(
            f"{path} {why}, so that none of its tests would run; pytest runs them: {command}", ExitStatus.NOTHING_RAN
        )
    return code


def _take_own_arguments() -> None:
    if sys.argv[1:2] == ["--report-surface"]:
        _report_surface(sys.argv[2:])
    if sys.argv[1:] in (["--lead"], ["--follow"]):  # the runner's own, under torchrun
        from torch_testing_shim._program.following import follow, lead

        raise SystemExit((lead if sys.argv[1:] == ["--lead"] else follow)())
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, "", "What --map-device cuda=cpu answers:", "", *table_text(), sep="\n")
        raise SystemExit(0)
    if arguments[:1] == ["--map-device"] and len(arguments) > 1:
        _take_map(arguments[1])
        arguments = arguments[2:]
    if arguments[:1] == [BY_PYTEST]:
        sys.argv = arguments
        os.environ["TORCH_TESTING_SHIM_UPSTREAM_FILE"] = ""  # from the process that has started this one, if any
        return
    if not arguments or arguments[0].startswith("-"):
        _refuse(USAGE)
    sys.argv = arguments
    os.environ["TORCH_TESTING_SHIM_UPSTREAM_FILE"] = os.path.abspath(arguments[0])


def _take_map(text: str) -> None:
    """Set the map in the environment, for this process and those that it starts."""
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


def _refuse(reason: str, status: int = ExitStatus.USAGE) -> NoReturn:
    print(reason, file=sys.stderr)
    raise SystemExit(status)
