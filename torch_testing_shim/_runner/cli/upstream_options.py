"""Options about PyTorch's test files, and options of upstream's `run_test.py` that mean nothing here.

The latter are accepted and noted, so that a command line carries over. They choose among PyTorch's own suites, rewire
torch's compiler for a whole run, or talk to PyTorch's CI.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

_FLAGS = (
    # PyTorch's own suites
    "--core",
    "-core",
    "--cpp",
    "--functorch",
    "--jit",
    "--mps",
    "--onnx",
    "--openreg",
    "--quantization",
    "--xpu",
    "--exclude-aot-dispatch-tests",
    "--exclude-inductor-tests",
    "--exclude-jit-executor",
    "--exclude-quantization-tests",
    "--exclude-torch-export-tests",
    "--exclude-dynamo-tests",
    "--ignore-win-blocklist",
    # torch's compiler
    "--dynamo",
    "--inductor",
    "--no-translation-validation",
    # PyTorch's CI
    "--enable-td",
    "--upload-artifacts-while-running",
)
_WITH_A_VALUE = ("--determine-from", "--use-specified-test-cases-by", "--xdoctest-command")
_WITH_OR_WITHOUT_A_VALUE = ("--export-past-test-times", "--run-specified-test-cases", "--use-specified-test-cases")


def add_upstream_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the options about runs of PyTorch's own test files."""
    add = group.add_argument
    add(
        "--upstream",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="run these files and folders, by pytest where they do not use run_tests",
    )
    add("--map-device", metavar="FROM=TO", help="make on TO what the files ask for on FROM, as cuda=cpu")
    add("--report-surface", action="store_true", help="list the names that the files import, and run nothing")


class _Note(argparse.Action):
    """Notes the option's name and does nothing else."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        note = f"{option_string} means nothing here and is ignored"
        namespace.notes = tuple(dict.fromkeys((*namespace.notes, note)))


def add_upstream_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to `parser`; those that are used end up as sentences in the namespace's `notes`."""
    parser.set_defaults(notes=())
    values: tuple[tuple[tuple[str, ...], int | str | None], ...] = (
        (_FLAGS, 0),
        (_WITH_A_VALUE, None),
        (_WITH_OR_WITHOUT_A_VALUE, "?"),
    )
    for names, count in values:
        for name in names:
            parser.add_argument(name, action=_Note, nargs=count, dest="notes", default=(), help=argparse.SUPPRESS)
