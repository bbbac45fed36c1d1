"""The parser of the command line: argparse with the options of `Options`, the notes below them, and what is ignored."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch_testing_shim._shared.hardware import add_hardware_option
from torch_testing_shim._shared.settings import add_setting_options

from .options import EXPECTATIONS_HEADING, PROGRAM, Options

EPILOG = f"""\
{EXPECTATIONS_HEADING}:
  An expectations file is TOML, with one entry for each test or group of tests:

    [[test]]
    id = "distributed/test_x::TestFoo.test_bar"      # needed, as --list and failures name it
    expect = "xfail"                                 # needed: xfail, skip or flaky
    reason = "no bfloat16 all_reduce yet"
    issue = "https://github.com/..."
    when = {{ device = "npu", torch = ">=2.6,<2.9" }}  # only there; device may be a list, torch is as in PEP 440
    error = "not implemented for 'BFloat16'"         # a regular expression, searched in the report of the failure

  xfail: the test runs and has to fail, by that error where one is given. A pass and another error are failures.
  skip: the test does not run. flaky: the test may fail; it runs again up to twice, or as --retries says.
  An id may be FILE::Class or FILE for all tests there, or a glob: *, ?, [abc], {{this,that}}. An exact id comes before
  globs, and a later glob before an earlier one. An entry that matches no test fails a run that has listed all tests
  it could match.

examples:
  run_test.py                                                 all test files
  run_test.py distributed/checkpoint/test_fsdp_optim_state    one of them
  run_test.py 'distributed/*' -x distributed/test_c10d -k planner
  run_test.py test/test_x.py::Class::test_a -v -- --failfast
  run_test.py -x test_x::Class.test_a                         all but one test
  run_test.py --last-failed --showlocals                      what failed before, with local variables
  run_test.py -j auto --keep-going --save-xml --retries 1     as CI may want it
  run_test.py test_x::Class.test_a --repeat 100 --until-failure
  run_test.py --shard 1 4                                     a quarter, by recorded times
  run_test.py --upstream ~/pytorch/test/distributed/checkpoint --map-device cuda=cpu

exit status:
  0 all passed, 1 something failed, 2 wrong usage, 5 nothing ran, 129 ended by SIGHUP, 130 by Ctrl-C, 143 by SIGTERM
"""

#: Options of upstream's `run_test.py` that mean nothing here, by the number of their values. They choose among
#: PyTorch's own suites, rewire torch's compiler for a whole run, or talk to PyTorch's CI. They are accepted and noted,
#: so that a command line carries over.
_IGNORED: dict[int | str | None, str] = {
    0: """
        --core -core --cpp --functorch --jit --mps --onnx --openreg --quantization --xpu --exclude-aot-dispatch-tests
        --exclude-inductor-tests --exclude-jit-executor --exclude-quantization-tests --exclude-torch-export-tests
        --exclude-dynamo-tests --ignore-win-blocklist --dynamo --inductor --no-translation-validation --enable-td
        --upload-artifacts-while-running
    """,
    None: "--determine-from --use-specified-test-cases-by --xdoctest-command",
    "?": "--export-past-test-times --run-specified-test-cases --use-specified-test-cases",
}


def make_parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The parser with all options, grouped as `--help` shows them.

    The `dest` of each is the name of a field of `Options` or of a setting, but for `names`. An option that is not given
    leaves no value.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [NAME ...] [options] [-- ARGUMENT ...]",
        description="Runs test files, each in its own process. What stands after -- goes to the files.",
        epilog=EPILOG.replace(PROGRAM, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_options(parser)
    for count, names in _IGNORED.items():
        for name in names.split():
            parser.add_argument(name, action=_Note, nargs=count, dest="notes", help=argparse.SUPPRESS)
    for action in list(parser._actions):
        if isinstance(action, argparse._StoreTrueAction) and action.dest != "distributed":
            _add_negation(parser, action)
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    parser.set_defaults(notes=())
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in fields(Options):
        for argument in field.metadata.get("arguments", ()):
            group = place = groups.get(argument.group) or parser.add_argument_group(argument.group)
            groups[argument.group] = group
            if argument.rivals:
                place = groups[argument.rivals] = groups.get(argument.rivals) or group.add_mutually_exclusive_group()
            dest: dict[str, Any] = {} if argument.names == ("names",) else {"dest": field.name}
            place.add_argument(*argument.names, **dest, **argument.words)
        if field.name == "hw_classification":
            add_hardware_option(group.add_argument)
        elif field.name == "settings":
            add_setting_options(group, in_runner=True)


def _add_negation(parser: argparse.ArgumentParser, flag: argparse.Action) -> None:
    """`--no-OPTION` takes back a flag that the project's table sets."""
    names = [f"--no-{name[2:]}" for name in flag.option_strings if name.startswith("--")]
    parser.add_argument(*names, dest=flag.dest, action="store_false", help=argparse.SUPPRESS)


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
