"""The command line: arguments in, one frozen `Options` out. argparse's namespace goes no further than this file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from .sharding import Shard

__all__ = ["Options", "parse_options"]

EPILOG = """\
examples:
  run_test.py                                                 all test files
  run_test.py distributed/checkpoint/test_fsdp_optim_state    one of them
  run_test.py 'distributed/*' -x distributed/test_c10d -k planner
  run_test.py test/test_x.py::Class::test_a -v -- --seed 1

exit status:
  0 all passed, 1 something failed, 2 wrong usage, 5 nothing ran, 130 ended by Ctrl-C, 143 ended by SIGTERM
"""


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Attributes:
        include: the requests that choose files (see `selection`); empty for all files.
        exclude: the requests that leave files out.
        keywords: unittest's `-k` patterns, each a substring of a test's name or a glob.
        verbose: stream what the test files print.
        list_names: print the names of the selected files and run nothing.
        dry_run: print the commands and run nothing.
        keep_going: go on after a file that failed.
        device: device type that the tests are to run on, or None for what torch finds.
        shard: the part of the selection that is to run, or None for everything.
        save_xml: write JUnit XML.
        xml_folder: where to, or None for test/test-reports/python-unittest.
        file_arguments: what stood after `--`: it goes to every test file as it is.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    verbose: bool = False
    list_names: bool = False
    dry_run: bool = False
    keep_going: bool = False
    device: str | None = None
    shard: Shard | None = None
    save_xml: bool = False
    xml_folder: str | None = None
    file_arguments: tuple[str, ...] = ()


def parse_options(arguments: Sequence[str]) -> Options:
    """Reads the command line (without the program's name).

    Raises:
        SystemExit: with 2 after a message where the arguments are wrong, with 0 after `--help`.
    """
    own, file_arguments = _split_at_dashes(arguments)
    parser = _parser()
    found = parser.parse_intermixed_args(own)
    if found.device is not None and not found.device.isidentifier():
        parser.error(f"--device {found.device!r} is not a device type; write one such as cpu or cuda")
    try:
        shard = Shard(*found.shard) if found.shard else None
    except ValueError as error:
        parser.error(f"--shard: {error}")
    return Options(
        include=(*found.names, *found.include),
        exclude=tuple(found.exclude),
        keywords=tuple(found.keywords),
        verbose=found.verbose,
        list_names=found.list,
        dry_run=found.dry_run,
        keep_going=found.keep_going,
        device=found.device,
        shard=shard,
        save_xml=found.save_xml is not None,
        xml_folder=found.save_xml or None,
        file_arguments=file_arguments,
    )


def _split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_test.py",
        usage="%(prog)s [NAME ...] [options] [-- ARGUMENT ...]",
        description="Runs test files under test/, each in its own process. What stands after -- goes to the files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_choosing(parser.add_argument_group("what to run"))
    _add_running(parser.add_argument_group("how to run it"))
    return parser


def _add_choosing(group: argparse._ArgumentGroup) -> None:
    requests = "names, folders, globs, paths, or FILE::Class.test"
    group.add_argument("names", nargs="*", metavar="NAME", help=f"{requests}; all files where there is none")
    group.add_argument(
        "-i", "--include", nargs="+", action="extend", default=[], metavar="NAME", help="the same as NAME"
    )
    group.add_argument(
        "-x", "--exclude", nargs="+", action="extend", default=[], metavar="NAME", help="files to leave out"
    )
    group.add_argument(
        "-k",
        action="append",
        default=[],
        dest="keywords",
        metavar="PATTERN",
        help="only tests whose name has PATTERN in it or matches it as a glob (repeatable)",
    )
    group.add_argument("--shard", nargs=2, type=int, metavar=("I", "N"), help="the I-th of N parts, from 1")
    group.add_argument("--list", action="store_true", help="print the selected names and run nothing")
    group.add_argument("--dry-run", action="store_true", help="print the commands and run nothing")


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-v", "--verbose", action="store_true", help="show what the test files print")
    group.add_argument(
        "--continue-through-error",
        "--keep-going",
        action="store_true",
        dest="keep_going",
        help="go on after a file that failed",
    )
    group.add_argument("--device", metavar="DEVICE", help="device type, such as cpu (default: what torch finds)")
    group.add_argument(
        "--save-xml",
        nargs="?",
        const="",
        metavar="DIR",
        help="write JUnit XML; write --save-xml=DIR where a name follows (default: test/test-reports/python-unittest)",
    )
