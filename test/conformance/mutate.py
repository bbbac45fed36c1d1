"""Mutates modules of the package and lists the mutations that no test of theirs notices.

    python test/conformance/mutate.py _engine.verdict _runner.plan.request      every mutation of two modules
    python test/conformance/mutate.py --pure --count 400 --seed 1               400 random ones of the pure modules
    python test/conformance/mutate.py _engine.verdict:_mismatch --list          what would be done to one function

A mutation changes one comparison, boolean operator, constant or returned value. It is made in a copy of the package,
on which the module's own test file runs; a test file that passes has not noticed. `mutations/equivalent.json` lists
mutations that change no behaviour, with the reason.

Exit status: 0 where each mutation is noticed or known to change nothing, 1 otherwise, 2 for wrong usage, such as a test
file that fails without any mutation.
"""

from __future__ import annotations

import argparse
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutations.copies import Copies, Outcome
from mutations.known import read_equivalent
from mutations.mutation import Mutation, mutations_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "torch_testing_shim"
#: The modules whose functions take data and return data.
PURE = (
    "_engine.flight_recorder",
    "_engine.collectives",
    "_engine.outcome",
    "_engine.stacks",
    "_engine.verdict",
    "_assertions.comparison",
    "_assertions.leaves",
    "_runner.expectations.judgement",
    "_runner.plan.request",
    "_runner.plan.selection",
    "_runner.plan.sharding",
    "_runner.history.times",
    "_runner.process.fold",
    "_runner.process.retry",
    "_runner.process.slots",
    "_runner.result",
    "_shared.expectation_ids",
    "_shared.expectations",
    "_shared.keyword_expression",
)


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    chosen = chosen_mutations(options)
    if options.list:
        print(*chosen, sep="\n")
        return 0
    with Copies(ROOT, PACKAGE, options.jobs) as copies:
        for module in dict.fromkeys(mutation.module for mutation in chosen):
            if copies.run_unchanged(module) is not Outcome.PASSED:
                print(f"mutate.py: the test file of {module} fails without a mutation", file=sys.stderr)
                return 2
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(pool.map(copies.run, chosen))
    survivors = [mutation for mutation, outcome in zip(chosen, outcomes, strict=True) if outcome is Outcome.PASSED]
    return report(chosen, survivors)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "modules", nargs="*", metavar="MODULE", help="its dotted name below the package; :function for one"
    )
    parser.add_argument("--pure", action="store_true", help="all pure modules")
    parser.add_argument("--count", type=int, metavar="N", help="that many, chosen at random; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of that choice")
    parser.add_argument("--jobs", "-j", type=int, default=2, metavar="N", help="test files that run at once")
    parser.add_argument("--list", action="store_true", help="print the mutations and run nothing")
    options = parser.parse_args(arguments)
    options.modules += PURE if options.pure else ()
    if not options.modules:
        parser.error("name a module, or --pure")
    for name in options.modules:
        if not source_of(name.partition(":")[0]).is_file():
            parser.error(f"there is no module {name.partition(':')[0]!r}")
    return options


def source_of(module: str) -> Path:
    return ROOT.joinpath(PACKAGE, *module.split(".")).with_suffix(".py")


def mutations_in(module: str, function: str) -> list[Mutation]:
    """The mutations of a module, or of one of its functions or classes."""
    found = mutations_of(module, source_of(module).read_text())
    return [each for each in found if f"{each.function}.".startswith(f"{function}." if function else "")]


def chosen_mutations(options: argparse.Namespace) -> list[Mutation]:
    """The mutations to make, in the order of the modules."""
    found = [each for name in options.modules for each in mutations_in(*name.partition(":")[::2])]
    if options.count is None or options.count >= len(found):
        return found
    chosen = random.Random(options.seed).sample(range(len(found)), options.count)
    return [found[place] for place in sorted(chosen)]


def report(chosen: list[Mutation], survivors: list[Mutation]) -> int:
    """Print the mutations that were not noticed; return the exit status."""
    equivalent = read_equivalent()
    unnoticed = [mutation for mutation in survivors if mutation.key not in equivalent]
    for mutation in survivors:
        reason = equivalent.get(mutation.key)
        print(
            f"{'NOT NOTICED' if reason is None else 'changes nothing'}  {mutation}"
            + (f"  ({reason})" if reason else "")
        )
    noticed = len(chosen) - len(survivors)
    print(
        f"{len(chosen)} mutations: {noticed} noticed, {len(survivors) - len(unnoticed)} change nothing, "
        f"{len(unnoticed)} not noticed"
    )
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
