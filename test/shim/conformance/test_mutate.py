"""`mutate.py`: which mutations a source has, and which of them a test file notices."""

import contextlib
import io
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conformance"))

import mutate
from mutations.copies import Copies, Outcome
from mutations.known import read_equivalent
from mutations.mutation import mutations_of

SOURCE = '''
"""Left alone: 1 == 2."""
__all__ = ["limit"]

LIMIT: int = 3


def limit(number: int = 0, exact: bool = False) -> bool:
    """True below the limit."""
    return number < LIMIT or not exact and "é" in f"{number!r}"
'''
TEST = """
import unittest
from toy.part import limit

class Limit(unittest.TestCase):
    def test_limit(self):
        self.assertEqual([True, True, False], [limit(2), limit(3) is False, limit(4, exact=True)])

unittest.main()
"""


class Mutations(TestCase):
    def test_each_kind_has_its_own(self):
        text = "\n".join(f"{each.line} {each.function}: {each.before} -> {each.after}" for each in self.found())
        self.assertExpectedInline(
            text,
            """\
5 : 3 -> 4
8 limit: 0 -> 1
8 limit: False -> True
10 limit: number < LIMIT or not exact and "é" in f"{number!r}" -> None
10 limit: < -> <=
10 limit: or -> and
10 limit: not exact -> bool(exact)
10 limit: and -> or
10 limit: in -> not in""",
        )

    def test_each_changes_one_place_and_leaves_a_program(self):
        for mutation in self.found():
            mutated = mutation.apply(SOURCE)
            compile(mutated, "part.py", "exec")
            self.assertEqual(SOURCE[: mutation.start], mutated[: mutation.start])
            self.assertTrue(mutated.endswith(SOURCE[mutation.end :]))
            self.assertNotEqual(SOURCE, mutated)

    def test_each_that_is_known_to_change_nothing_can_still_be_made(self):
        keys = {each.key for module in mutate.PURE for each in mutate.mutations_in(module, "")}
        self.assertEqual(set(), read_equivalent().keys() - keys)

    def test_keys_do_not_change_when_lines_move(self):
        moved = mutations_of("part", f"import os\n{SOURCE}")
        self.assertEqual([each.key for each in self.found()], [each.key for each in moved])

    def found(self):
        return mutations_of("part", SOURCE)


class Noticed(TestCase):
    def test_a_test_file_notices_what_it_tests(self):
        self.addCleanup((temporary := tempfile.TemporaryDirectory()).cleanup)
        folder = Path(temporary.name)
        (folder / "toy").mkdir()
        (folder / "toy" / "part.py").write_text(SOURCE)
        tests = folder / "test" / "shim"
        tests.mkdir(parents=True)
        (tests / "test_part.py").write_text(TEST)
        found = mutations_of("part", SOURCE)
        no_main = mock.patch.dict(sys.modules, {"__main__": types.ModuleType("__main__")})  # each fork would import it
        with no_main, Copies(folder, "toy", 1, preload=()) as copies:
            self.assertIs(Outcome.PASSED, copies.run_unchanged("part"))
            outcomes = {f"{each.before} -> {each.after}": copies.run(each) for each in found}
            self.assertIs(Outcome.PASSED, copies.run_unchanged("part"))
        survivors = [text for text, outcome in outcomes.items() if outcome is Outcome.PASSED]
        self.assertEqual(SOURCE, (folder / "toy" / "part.py").read_text())
        self.assertEqual(["0 -> 1", "False -> True", "not exact -> bool(exact)"], survivors)


class CommandLine(TestCase):
    def test_wrong_usage(self):
        for arguments in ([], ["no.such_module"]):
            with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(io.StringIO()):
                mutate.main(arguments)
            self.assertEqual(2, caught.exception.code)

    def test_the_choice_is_the_same_for_the_same_seed(self):
        def chosen(*arguments):
            return mutate.chosen_mutations(mutate.parse_options([*arguments]))

        every = chosen("--pure")
        self.assertGreater(len(every), 300)
        some = chosen("--pure", "--count", "20", "--seed", "7")
        self.assertEqual((20, some), (len(set(some)), chosen("--pure", "--count", "20", "--seed", "7")))
        self.assertLessEqual(set(some), set(every))


if __name__ == "__main__":
    run_tests()
