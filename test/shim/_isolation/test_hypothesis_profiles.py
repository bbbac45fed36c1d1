"""The hypothesis profile holds for `@given` tests in whatever order a test file imports things."""

import json
import os
import subprocess
import sys
from pathlib import Path

from torch_testing_shim._isolation.hypothesis_profiles import EXAMPLES
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import ROOT

REPORT = """
import json, sys
from hypothesis import given, settings, strategies
@given(strategies.integers())
def test(number):
    seen.append(number)
seen = []
test()
print(json.dumps([settings.default.max_examples, settings.default.derandomize, len(seen)]))
"""
IMPORTED_AFTER = """
import importlib.util, sys, torch_testing_shim.common_utils
assert "hypothesis" not in sys.modules
assert importlib.util.find_spec("hypothesis")
def finders():
    module = "torch_testing_shim._isolation.hypothesis_profiles"
    return [finder for finder in sys.meta_path if type(finder).__module__ == module]
assert len(finders()) == 1
import hypothesis
assert finders() == []
"""


def examples_of(source, **environment):
    """Run the source and REPORT in a new interpreter: profile's examples, derandomized, and examples seen."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTORCH_HYPOTHESIS_PROFILE")}
    done = subprocess.run(
        [sys.executable, "-c", source + REPORT],
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


class Profiles(TestCase):
    def test_hypothesis_imported_after_common_utils(self):
        """Who only looks for it does not take the profile away, and the finder takes itself away: in one process, since
        each imports torch."""
        profile, derandomized, seen = examples_of(IMPORTED_AFTER)
        self.assertEqual((EXAMPLES["dev"], False), (profile, derandomized))
        self.assertIn(seen, range(1, EXAMPLES["dev"] + 1))

    def test_hypothesis_imported_before_common_utils(self):
        source = "import hypothesis, torch_testing_shim.common_utils\n"
        profile, derandomized, seen = examples_of(source, CI="true")
        self.assertEqual((EXAMPLES["pytorch_ci"], True), (profile, derandomized))
        self.assertGreater(seen, EXAMPLES["dev"])


if __name__ == "__main__":
    run_tests()
