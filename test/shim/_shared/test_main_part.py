"""How a file runs its tests, read off its source."""

import unittest

from torch_testing_shim._shared.main_part import read_main_part
from torch_testing_shim.common_utils import run_tests

CASE = "class Of(TestCase):\n    def test_a(self): pass\n"
FUNCTION = "@pytest.fixture\ndef one(): return 1\ndef test_a(one): pass\n"
RUN_TESTS = "if __name__ == '__main__':\n    run_tests()\n"
IN_FUNCTION = "def main():\n    run_tests()\nif '__main__' == __name__:\n    main()\n"
UNITTEST = "if __name__ == '__main__':\n    unittest.main()\n"

#: Sources, whether the harness runs their tests, and whether they run nothing as scripts.
SOURCES = {
    CASE + RUN_TESTS: (True, False),
    CASE + IN_FUNCTION: (True, False),
    CASE + "from torch.testing._internal.common_utils import run_tests as go\ngo()\n": (True, False),
    CASE + FUNCTION + RUN_TESTS: (True, False),
    "globals().update(make_tests())\n" + RUN_TESTS: (True, False),
    "run_tests()\n" + CASE: (True, False),
    "from torch.testing._internal.common_utils import run_tests\n" + CASE: (False, True),
    "from . import helpers\n" + CASE + RUN_TESTS: (False, True),
    "try:\n    from .helpers import x\nexcept ImportError:\n    pass\n" + CASE + RUN_TESTS: (False, True),
    "def helper():\n    from . import helpers\n" + CASE + RUN_TESTS: (True, False),
    FUNCTION + RUN_TESTS: (False, False),
    FUNCTION: (False, True),
    CASE: (False, True),
    CASE + "logger = logging.getLogger(__name__)\n": (False, True),
    CASE + UNITTEST: (False, False),
    CASE + "unittest.main()\n": (False, False),
    FUNCTION + "import sys\nsys.exit(pytest.main([__file__]))\n": (False, False),
    "print('a script')\n": (False, False),
    "def f(:\n": (True, False),
}


class MainParts(unittest.TestCase):
    def test_sources(self):
        for source, expected in SOURCES.items():
            with self.subTest(source):
                part = read_main_part(source.encode())
                self.assertEqual(expected, (part.is_for_harness, part.runs_nothing))


if __name__ == "__main__":
    run_tests()
