# PYTHON_ARGCOMPLETE_OK
"""Runs the test files under test/; `python run_test.py --help` says how."""

import sys
from pathlib import Path

from torch_testing_shim._runner.cli.main import main

if __name__ == "__main__":
    sys.exit(main(root=Path(__file__).resolve().parent))
