"""The command line: arguments in, one frozen `Options` out. argparse's namespace goes no further than this file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch_testing_shim._shared.device_map import parse_device_map
from torch_testing_shim._shared.settings import take_settings

from ..plan.sharding import Shard
from .options import DEFAULT_FILE_TIMEOUT, PROGRAM, Options
from .parser import make_parser


@dataclass(frozen=True)
class CommandLine:
    """A command line that could be read: the values of the options that stand there, by the names of their fields, and
    the words after `--`."""

    given: Mapping[str, Any]
    file_arguments: tuple[str, ...] = ()

    @property
    def requests(self) -> tuple[str, ...]:
        """The words that say what runs."""
        return (*self.given.get("names", ()), *self.given.get("include", ()))


def parse_options(arguments: Sequence[str]) -> Options:
    """Read a command line of `run_test.py` without the table of a project."""
    return make_options(read_command_line(arguments), {})


def read_command_line(arguments: Sequence[str], program: str = PROGRAM) -> CommandLine:
    """Read a command line, without the program's name.

    Raises:
        SystemExit: with 2 after a message where the arguments are wrong, with 0 after `--help`.
    """
    own, file_arguments = _split_at_dashes(arguments)
    return CommandLine(vars(make_parser(program).parse_intermixed_args(own)), file_arguments)


def make_options(line: CommandLine, table: Mapping[str, Any], program: str = PROGRAM) -> Options:
    """The options of a command line.

    Args:
        table: values by the names of their fields, which hold where the command line has none.

    Raises:
        SystemExit: with 2 after a message where options do not go together.
    """
    parser = make_parser(program)
    asked: dict[str, Any] = {**table, **line.given}
    given = {**vars(Options()), **asked}
    settings = replace(take_settings(given, in_runner=True), show_output=given["verbosity"] > 1)
    if settings.device is not None and not settings.device.isidentifier():
        parser.error(f"--device {settings.device!r} is not a device type; write one such as cpu or cuda")
    try:
        given["shard"] = Shard(*given["shard"]) if given["shard"] else None
    except ValueError as error:
        parser.error(f"--shard: {error}")
    if (given["map_device"] is not None or given["report_surface"]) and not given["upstream"]:
        parser.error("--map-device and --report-surface go with --upstream")
    if given["update_expectations"] and given["expectations"] is None:
        parser.error("--update-expectations goes with --expectations")
    if given["platforms"] and given["import_disabled_tests"] is None:
        parser.error("--platform goes with --import-disabled-tests")
    try:
        given["map_device"] = parse_device_map(given["map_device"]) if given["map_device"] is not None else None
    except ValueError as error:
        parser.error(f"--map-device {error}")
    given["include"] = (*given.pop("names", ()), *given["include"])
    if given["until_failure"] and "repeat" not in asked:
        given["repeat"] = 0
    if given["enable_timeout"] and given["timeout"] is None:
        given["timeout"] = DEFAULT_FILE_TIMEOUT
    given["cold"] = given["cold"] or given["coverage"]  # coverage.py starts with the interpreter
    given |= {"settings": settings, "file_arguments": line.file_arguments, "program": program}
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return Options(**fields)


def _split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])
