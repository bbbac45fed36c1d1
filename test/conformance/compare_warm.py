"""Whether files come to the same in forks of a warm interpreter and in new interpreters, test by test.

    python test/conformance/compare_warm.py                     every file under test/, twice
    python test/conformance/compare_warm.py shim/_shared/test_settings shim/distributed/test_agreement -- --keep-going

What stands after -- goes to run_test.py. A test's status and the statuses of its ranks are compared, and what the
runner found besides. Exit status: 0 where they are the same and something was compared, 1 where they differ, 2 for
wrong usage.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: What a record says of a test that does not differ from run to run; process ids, times and texts do.
COMPARED = {"test": "status", "rank": "status", "fault": "label"}


def main(arguments: Sequence[str] | None = None) -> int:
    own, passed_on = split_at_dashes(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="FILE", help="as for run_test.py; all files by default")
    names = parser.parse_args(own).names
    warm, cold = (outcomes([*names, *passed_on, *how]) for how in ([], ["--cold"]))
    lines = differences(warm, cold)
    print("\n".join([*lines, f"{len(warm)} outcomes warm, {len(cold)} cold, {len(lines)} differ"]))
    return 0 if warm and not lines else 1


def split_at_dashes(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:at]), list(arguments[at + 1 :])


def outcomes(arguments: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Runs run_test.py and returns what it found: which file, test and rank -> how that ended."""
    with tempfile.TemporaryDirectory(prefix="compare-warm-") as folder:
        report = Path(folder, "report.jsonl")
        command = [sys.executable, str(ROOT / "run_test.py"), "--keep-going", "--json-lines", str(report), *arguments]
        # neither run is to change what the tree remembers, nor to be told by what it does
        command += ["--times", str(Path(folder, "times.json"))]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout.splitlines()[-1] if done.stdout else f"exit status {done.returncode}", file=sys.stderr)
        records = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    return dict(outcome_of(record) for record in records if record["record"] in COMPARED)


def outcome_of(record: dict[str, object]) -> tuple[tuple[str, ...], str]:
    place = tuple(str(record.get(name, "")) for name in ("record", "file", "test", "attempt", "rank"))
    return place, str(record[COMPARED[str(record["record"])]])


def differences(warm: dict[tuple[str, ...], str], cold: dict[tuple[str, ...], str]) -> list[str]:
    """One line for each outcome that is not the same both ways."""
    places = [place for place in sorted({*warm, *cold}) if warm.get(place) != cold.get(place)]
    ways = (("warm", warm), ("cold", cold))
    told = {place: ", ".join(f"{name} {found.get(place, 'nothing')}" for name, found in ways) for place in places}
    return [f"{' '.join(part for part in place if part)}: {words}" for place, words in told.items()]


if __name__ == "__main__":
    sys.exit(main())
