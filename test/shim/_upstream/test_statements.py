"""Statements of a module: what each binds, changes and uses, and that imports are rewritten."""

import marshal
import sys
import textwrap
from pathlib import Path

from hypothesis import strategies as st

from torch_testing_shim._upstream.statements import read_statements, whole_code
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given


def read(source):
    return read_statements(textwrap.dedent(source), "/a/file.py")


class Names(TestCase):
    def test_each_kind_of_statement(self):
        for source, binds, changes, uses in (
            ("import os.path, sys as system", [["os"], ["system"]], [[], []], [[], []]),
            ("from a import b as c, d", [["c"], ["d"]], [[], []], [[], []]),
            ("x: int = y + 1", [["x"]], [[]], [["int", "y"]]),
            ("a, b = c", [["a", "b"]], [[]], [["c"]]),
            ("x += y", [["x"]], [[]], [["x", "y"]]),
            ("table[key] = value", [[]], [["table"]], [["key", "table", "value"]]),
            ("table.part.update(other)", [[]], [["other", "table"]], [["other", "table"]]),
            ("del table.part", [[]], [["table"]], [["table"]]),
            ("for x in y:\n    z.append(x)", [["x"]], [["z"]], [["x", "y", "z"]]),
            ("try:\n    x = 1\nexcept E as e:\n    x = 2", [["e", "x"]], [[]], [["E"]]),
            ("if x:\n    def f(): pass\nelse:\n    f = None", [["f"]], [[]], [["x"]]),
            ("@d\ndef f(a: A, b=B) -> R:\n    c = a\n    return c, g", [["f"]], [[]], [["A", "B", "R", "d", "g"]]),
            ("def f():\n    global n\n    n = 1", [["f"]], [[]], [["n"]]),
            ("def f():\n    def g(x):\n        return x, y\n    return g", [["f"]], [[]], [["y"]]),
            ("async def f(*args, **kwargs):\n    await args, kwargs", [["f"]], [[]], [[]]),
            ("f = lambda x: x + y", [["f"]], [[]], [["y"]]),
            ("x = [a for a in b if c]", [["x"]], [[]], [["b", "c"]]),
            ("x = {k: v for k, v in t}", [["x"]], [[]], [["t"]]),
            (
                "class C(B, metaclass=M):\n    x = y\n    def f(self):\n        return z",
                [["C"]],
                [[]],
                [["B", "M", "y", "z"]],
            ),
            ("'a docstring'\nfrom __future__ import annotations", [], [], []),
        ):
            with self.subTest(source):
                found = read(source)
                self.assertEqual(binds, [list(each.binds) for each in found])
                self.assertEqual(changes, [list(each.changes) for each in found])
                self.assertEqual(uses, [list(each.uses) for each in found])

    def test_what_is_done_to_an_imported_module_changes_no_name(self):
        found = read("import torch\ntorch.set_flag(x)\ntorch.flags.y = 1")
        self.assertEqual([(), ("x",), ()], [each.changes for each in found])

    @given(st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
    def test_run_in_their_order_they_do_what_the_module_does(self, names):
        source = "".join(f"{name} = [{index}]\n{name}.append({name}[0])\n" for index, name in enumerate(names))
        whole, parts = {}, {}
        exec(whole_code(source, "x.py"), whole)
        for statement in read_statements(source, "x.py"):
            exec(marshal.loads(statement.code), parts)
        self.assertEqual({name: whole[name] for name in names}, {name: parts[name] for name in names})


class Code(TestCase):
    def test_lines_and_file_are_those_of_the_source(self):
        names = {}
        exec(marshal.loads(read("\n\n\ndef f():\n    raise KeyError\n")[0].code), names)
        self.assertEqual(("/a/file.py", 4), (names["f"].__code__.co_filename, names["f"].__code__.co_firstlineno))

    def test_annotations_stay_texts_where_the_module_wants_it(self):
        names = {}
        exec(marshal.loads(read("from __future__ import annotations\ndef f(x: nowhere): pass\n")[0].code), names)
        self.assertEqual({"x": "nowhere"}, names["f"].__annotations__)

    def test_imports_of_upstream_are_imports_of_this_package(self):
        source = """
            import torch.testing._internal.common_utils
            import torch.testing._internal.common_utils as utils
            from torch.testing._internal.common_utils import run_tests
            from torch.testing._internal import common_utils
            later = lambda: torch.testing._internal.common_utils.TestCase
            whole = torch.testing._internal
            other = torch.testing.assert_close
            """
        import torch

        import torch_testing_shim
        import torch_testing_shim.common_utils as ours

        for run in (self.run_whole, self.run_parts):
            with self.subTest(run.__name__):
                names = run(textwrap.dedent(source))
                self.assertIs(torch, names["torch"])
                self.assertIs(ours, names["utils"])
                self.assertIs(ours, names["common_utils"])
                self.assertIs(ours.run_tests, names["run_tests"])
                self.assertIs(ours.TestCase, names["later"]())
                self.assertIs(torch_testing_shim, names["whole"])
                self.assertIs(torch.testing.assert_close, names["other"])

    def run_whole(self, source):
        names = {}
        exec(whole_code(source, "x.py"), names)
        return names

    def run_parts(self, source):
        names = {}
        for statement in read_statements(source, "x.py"):
            exec(marshal.loads(statement.code), names)
        return names


if __name__ == "__main__":
    run_tests()
