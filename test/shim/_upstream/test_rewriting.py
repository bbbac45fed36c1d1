"""Results that torch's decorators drop are checked, and nothing else is changed."""

import ast
import functools
import textwrap

from torch_testing_shim._engine.unrun_body import UnrunBodyError
from torch_testing_shim._upstream.rewriting import check_results
from torch_testing_shim.common_utils import TestCase, run_tests

DECORATORS = """
def dropping(test):
    @{wraps}(test)
    def wrapper(*args):
        try:
            test(*args)
        finally:
            other(*args)
    return wrapper
"""


def other():
    return "dropped"


class DroppedResults(TestCase):
    def test_a_dropped_result_is_checked(self):
        for wraps in ("functools.wraps", "wraps"):
            tree = ast.parse(DECORATORS.format(wraps=wraps))
            check_results(tree)
            names = {"functools": functools, "wraps": functools.wraps, "other": other}
            exec(compile(ast.fix_missing_locations(tree), "x.py", "exec"), names)
            self.assertIsNone(names["dropping"](lambda: None)())
            with self.assertRaisesRegex(UnrunBodyError, "^<lambda> returned 1"):
                names["dropping"](lambda: 1)()

    def test_all_else_stays(self):
        for source in (
            "@wraps(f)\ndef g():\n    return f()",
            "@wraps(f)\ndef g():\n    x = f()",
            "@wraps(f)\ndef g():\n    f.close()\n    h()",
            "@other(f)\ndef g():\n    f()",
            "def g(f):\n    f()",
        ):
            tree = ast.parse(textwrap.dedent(source))
            check_results(tree)
            self.assertEqual(source, ast.unparse(ast.fix_missing_locations(tree)))


if __name__ == "__main__":
    run_tests()
