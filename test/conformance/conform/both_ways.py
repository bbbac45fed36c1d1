"""Runs files by run_test.py in two ways and compares what comes of them, test by test and rank by rank."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]

#: The field of a record that does not differ from run to run; process ids, times and texts do.
COMPARED = {"test": "status", "rank": "status", "fault": "label"}

#: (record, file, test, attempt, rank) -> how it ended.
Outcomes = dict[tuple[str, ...], str]


def compare(description: str | None, ways: Mapping[str, Sequence[str]], arguments: Sequence[str] | None) -> int:
    """The command of a comparison: runs the files that the command line names, and prints each difference.

    Args:
        description: for `--help`.
        ways: the name of each of the two ways -> the options of run_test.py that make it.
        arguments: the command line; this process's by default.

    Returns:
        The exit status: 0 where something was compared and nothing differs, else 1.
    """
    own, passed_on = split_at_dashes(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FILE", help="as for run_test.py; all files by default")
    names = parser.parse_args(own).names
    found = {way: outcomes([*names, *passed_on, *options]) for way, options in ways.items()}
    lines = differences(found)
    (first, of_first), (second, of_second) = found.items()
    summary = f"{len(of_first)} outcomes {first}, {len(of_second)} {second}, {len(lines)} differ"
    print("\n".join([*lines, summary]))
    return 0 if all(found.values()) and not lines else 1


def split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:at]), list(arguments[at + 1 :])


def outcomes(arguments: Sequence[str]) -> Outcomes:
    """Run run_test.py and return what it found."""
    with tempfile.TemporaryDirectory(prefix="both-ways-") as folder:
        report = Path(folder, "report.jsonl")
        command = [sys.executable, str(_ROOT / "run_test.py"), "--keep-going", "--json-lines", str(report), *arguments]
        # neither run may change what the tree remembers, nor be changed by it
        command += ["--times", str(Path(folder, "times.json"))]
        done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout.splitlines()[-1] if done.stdout else f"exit status {done.returncode}", file=sys.stderr)
        records = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    return dict(outcome_of(record) for record in records if record["record"] in COMPARED)


def outcome_of(record: dict[str, object]) -> tuple[tuple[str, ...], str]:
    place = tuple(str(record.get(name, "")) for name in ("record", "file", "test", "attempt", "rank"))
    return place, str(record[COMPARED[str(record["record"])]])


def differences(found: Mapping[str, Outcomes]) -> list[str]:
    """One line for each outcome that is not the same both ways, which are given by their names."""
    places = sorted({place for of_way in found.values() for place in of_way})
    told = {place: {way: of_way.get(place, "nothing") for way, of_way in found.items()} for place in places}
    return [
        f"{' '.join(part for part in place if part)}: {', '.join(f'{way} {end}' for way, end in ends.items())}"
        for place, ends in told.items()
        if len(set(ends.values())) > 1
    ]
