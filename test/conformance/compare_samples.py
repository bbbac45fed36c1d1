"""Whether files in PyTorch's style come to the same under PyTorch's own harness and under the redirect, test by test.

    python test/conformance/compare_samples.py                      every file: takes 20 minutes on 2 cores
    python test/conformance/compare_samples.py --only "test_d*" --json samples.json
    python test/conformance/compare_samples.py --folder pytorch/test/distributed/checkpoint
    python test/conformance/compare_samples.py --ours               under the redirect alone, against the record
    python test/conformance/compare_samples.py --ours --record      writes the record anew: read its diff

The files lie in test/conformance/upstream_style, each for one pattern, and import nothing but PyTorch. Compared are the
verdicts: passed, skipped, expected failure, unexpected success, or not passed, which is failed, error or no verdict at
all. PyTorch's harness reports a failed assertion in a rank as an error; such pairs are told as "same verdict".

Exit status: 0 where each difference is one of `UPSTREAM_IS_WRONG` or `UPSTREAM_SKIPS`, each of these occurs, and our
outcomes are the recorded ones, of torch 2.13, or upstream's where it has run; 1 otherwise; 2 for wrong usage.
Accelerators are hidden from both.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from conform.sample_files import (
    FileRun,
    files_below,
    read_record,
    run_ours,
    run_upstream,
    sample_files,
    write_record,
)
from conform.sample_verdicts import Pair, UpstreamError, pairs_of, problems

_ONLY_RANK_0 = UpstreamError("passed", "the exit code of rank 0 is checked, and no other's")
_NEVER_RAN = UpstreamError("passed", "the body never ran")
_NEEDS_NO_GPU = UpstreamError("skipped", "FSDPTest asks for an accelerator per rank, and runs here on CPU ranks")
#: Every test of which PyTorch's harness of torch 2.13 says something wrong, and why that is wrong.
UPSTREAM_IS_WRONG: Mapping[str, UpstreamError] = {
    "test_bodies::BodiesTest.test_coroutine": _NEVER_RAN,
    "test_bodies::BodiesTest.test_generator": _NEVER_RAN,
    "test_bodies::BodiesTest.test_skip_in_a_subtest": UpstreamError("skipped", "another subtest fails, and is not run"),
    "test_bodies::CommsTest.test_coroutine": _NEVER_RAN,
    "test_dying_ranks::DyingRanksTest.test_other_rank_exits": _ONLY_RANK_0,
    "test_dying_ranks::DyingRanksTest.test_other_rank_is_killed": _ONLY_RANK_0,
    "test_dying_ranks::DyingRanksTest.test_other_rank_leaves_by_sys_exit": _ONLY_RANK_0,
    "test_partial_ranks::OneRankSkipsTest.test_other_rank_skips": _ONLY_RANK_0,
    "test_partial_ranks::OneRankSkipsTest.test_other_rank_skips_by_exit_code": _ONLY_RANK_0,
    "test_partial_ranks::OneRankSkipsTest.test_first_rank_skips": UpstreamError(
        "skipped", "rank 1 ran the test and nobody asked how it ended"
    ),
    "test_partial_ranks::NoRankTest.test_nobody_runs_this": UpstreamError("passed", "no rank ran the test"),
    "test_continuous_failure::FailureTest.test_c_has_nothing_wrong": UpstreamError(
        "skipped", "the test is never run, only because another one before it failed"
    ),
    "test_checkpoints::CheckpointTest.test_folder_stays_for_the_slowest": UpstreamError(
        "error", "the folder is removed by the rank that returns first, while another still works in it"
    ),
    "test_pytest_file::Ranks.test_other_rank_is_killed": _ONLY_RANK_0,
    "test_unittest_features::AsyncTest.test_fails": _NEVER_RAN,
    "test_sharded_tensors::ShardedTest.test_chunks": UpstreamError(
        "error", "the tensors are equal; they are asked for RRefs, which they were made without"
    ),
}
#: Every test that it skips, and that can run.
UPSTREAM_SKIPS: Mapping[str, UpstreamError] = {
    "test_fsdp::FSDPSampleTest.test_fails_on_one_rank": _NEEDS_NO_GPU,
    "test_fsdp::FSDPSampleTest.test_group": _NEEDS_NO_GPU,
    "test_fsdp::FSDPSampleTest.test_patched_all_gather": _NEEDS_NO_GPU,
    "test_fsdp::FSDPSampleTest.test_subtests": _NEEDS_NO_GPU,
    "test_fsdp::FSDPSampleTest.test_wrapped_model_bias_False": _NEEDS_NO_GPU,
    "test_fsdp::FSDPSampleTest.test_wrapped_model_bias_True": _NEEDS_NO_GPU,
}
#: All differences that are known.
KNOWN = {**UPSTREAM_IS_WRONG, **UPSTREAM_SKIPS}


@dataclass(frozen=True)
class Options:
    """The command line."""

    files: Mapping[str, Path]  # by their names
    are_samples: bool  # whether they are the project's, of which outcomes are recorded and differences known
    json_path: Path | None  # where everything is written
    ours_alone: bool  # run nothing under PyTorch's own harness
    record: bool  # record what our outcomes are


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(arguments)
    ours: dict[str, FileRun] = {}
    upstream: dict[str, FileRun] = {}
    for name, path in options.files.items():
        ours[name] = run_ours(path)
        if options.ours_alone:
            print(f"{name}  {len(ours[name].outcomes)} tests  {ours[name].seconds:.1f} s", flush=True)
        else:
            upstream[name] = run_upstream(path)
            print(file_report(name, upstream[name], ours[name]), flush=True)
    if options.record:
        write_record({name: run.outcomes for name, run in ours.items()})
    pairs = [pair for name, run in upstream.items() for pair in pairs_of(name, run.outcomes, ours[name].outcomes)]
    known = known_differences(upstream) if options.are_samples else {}
    agreed = {pair.test for pair in pairs if pair.is_same}
    departed = departures(ours) if options.are_samples else {}
    wrongs = problems(pairs, known) + [line for test, line in departed.items() if test not in agreed]
    print("\n".join([*wrongs, summary(ours, pairs)]))
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(as_data(pairs, upstream, ours, wrongs), indent=2) + "\n")
    return 1 if wrongs else 0


def parse_options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN", default="*", help='files whose name fits, as "test_d*"')
    parser.add_argument("--folder", type=Path, metavar="PATH", help="PyTorch's own test files below a folder instead")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything there")
    parser.add_argument("--ours", action="store_true", help="run nothing under PyTorch's own harness")
    parser.add_argument("--record", action="store_true", help="record what our outcomes are")
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None and chosen.record:
        parser.error("--record is for the project's own files, not for --folder")
    found = sample_files() if chosen.folder is None else files_below(chosen.folder.resolve())
    files = {name: path for name, path in found.items() if fnmatch.fnmatchcase(name, chosen.only)}
    if not files:
        parser.error(f"--only: no file has a name like {chosen.only!r}")
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {chosen.json.absolute().parent}")
    return Options(files, chosen.folder is None, chosen.json, chosen.ours, chosen.record)


def known_differences(files: Mapping[str, object]) -> dict[str, UpstreamError]:
    """Facts about upstream in some files."""
    return {test: error for test, error in KNOWN.items() if test.partition("::")[0] in files}


def departures(ours: Mapping[str, FileRun]) -> dict[str, str]:
    """A line for each test whose outcome is not the recorded one."""
    record = read_record()
    pairs = [pair for name, run in ours.items() for pair in pairs_of(name, record.get(name, {}), run.outcomes)]
    return {p.test: f"{p.test}: recorded is {p.upstream}, ours is {p.ours}" for p in pairs if p.upstream != p.ours}


def file_report(name: str, upstream: FileRun, ours: FileRun) -> str:
    """A head line with the seconds, and a line for each test: upstream's outcome, ours, and whether they agree."""
    lines = [f"{name}  upstream {upstream.seconds:.1f} s, ours {ours.seconds:.1f} s"]
    for pair in pairs_of(name, upstream.outcomes, ours.outcomes):
        why = f"  {KNOWN[pair.test].because}" if pair.test in KNOWN else ""
        lines.append(f"  {pair.upstream:18}  {pair.ours:18}  {pair.word:12}  {pair.test.partition('::')[2]}{why}")
    for harness, run in (("upstream", upstream), ("ours", ours)):
        if not run.outcomes:
            lines.append(f"  {harness} came to no test:\n{run.output}")
    return "\n".join(lines)


def summary(ours: Mapping[str, FileRun], pairs: Sequence[Pair]) -> str:
    """The last line."""
    if not pairs:
        return f"{len(ours)} files, {sum(len(run.outcomes) for run in ours.values())} tests, ours alone"
    different = [pair for pair in pairs if not pair.is_same]
    wrong, skipped = (sum(pair.test in known for pair in different) for known in (UPSTREAM_IS_WRONG, UPSTREAM_SKIPS))
    finer = [pair for pair in pairs if pair.is_same and pair.upstream != pair.ours]
    return (
        f"{len(ours)} files, {len(pairs)} tests: {len(pairs) - len(different)} the same ({len(finer)} of them failed "
        f"in one and error in the other), {len(different)} different, {wrong} of them where upstream is wrong "
        f"and {skipped} where it skips what can run"
    )


def as_data(
    pairs: Sequence[Pair], upstream: Mapping[str, FileRun], ours: Mapping[str, FileRun], wrongs: Sequence[str]
) -> dict[str, object]:
    """The file of `--json`."""
    sides = (("upstream", upstream), ("ours", ours))
    return {
        "seconds": {side: {name: round(run.seconds, 2) for name, run in runs.items()} for side, runs in sides},
        "outcomes": {side: {name: dict(run.outcomes) for name, run in runs.items()} for side, runs in sides},
        "tests": [asdict(pair) | {"same": pair.is_same} for pair in pairs],
        "known": {test: asdict(error) for test, error in known_differences(ours).items()},
        "problems": list(wrongs),
    }


if __name__ == "__main__":
    sys.exit(main())
