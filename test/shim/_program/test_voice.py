"""torch_testing_shim._program.voice"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import io, os, sys
from torch_testing_shim._program.voice import Voice
voice = Voice()
print("before")
voice.fall_silent()
print("silent", flush=True)
os.write(2, b"silent")
sys.stdout = sys.stderr = io.StringIO()  # as pytest captures
print("captured")
voice.speak()
print("after")
voice.speak()  # nothing more happens
print("an error", file=sys.stderr)
"""


class VoiceTest(TestCase):
    def test_a_process_is_silent_until_it_speaks(self) -> None:
        command = [sys.executable, "-u", "-c", SCRIPT]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertEqual(("before\nafter\n", "an error\n"), (found.stdout, found.stderr))


if __name__ == "__main__":
    run_tests()
