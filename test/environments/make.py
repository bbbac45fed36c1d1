"""Makes a virtual environment with another version of torch, in which this project's tests can run.

    python test/environments/make.py 2.6 ../torch-2.6
    ../torch-2.6/bin/python run_test.py --keep-going

torch comes first, with what it needs; then this project, editable, with its extra `dev` at the versions of
constraints.txt, but for what torch has already brought. Pip's own configuration holds; torch's default build takes
several GB. Exit status: 0 made, 1 pip or venv failed, 2 wrong usage or no interpreter.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: The Python that each version of torch is tested with.
PYTHONS = {"2.6": "3.10", "2.13": "3.11", "2.14": "3.12", "2.15": "3.13"}

_WRONG_USAGE = 2
_ANSWER_S = 60


class Missing(Exception):
    """Says in one sentence what is not to be had."""


def main() -> int:
    """Make the environment that the command line asks for."""
    options = _options()
    try:
        interpreter = options.python or _interpreter(PYTHONS.get(options.version, "3"))
        _check(interpreter)
        if options.folder.exists():
            raise Missing(f"{options.folder} exists already; remove it or name another folder")
    except Missing as missing:
        print(f"make.py: {missing}", file=sys.stderr)
        return _WRONG_USAGE
    try:
        _make(interpreter, options.version, options.folder)
    except subprocess.CalledProcessError as error:
        print(f"make.py: this command failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="make a virtual environment with a version of torch")
    parser.add_argument("version", type=_version, help="of torch, as 2.6 or 2.6.0")
    parser.add_argument("folder", type=Path, help="where the environment goes; must not exist")
    tested = ", ".join(f"torch {torch}: {python}" for torch, python in PYTHONS.items())
    parser.add_argument("--python", metavar="INTERPRETER", help=f"by default the one tested with ({tested})")
    return parser.parse_args()


def _version(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a version such as 2.6")
    return text


def _interpreter(version: str) -> str:
    """Return the interpreter of a version of Python, this one if it has it."""
    if ".".join(map(str, sys.version_info[: version.count(".") + 1])) == version:
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise Missing(f"there is no python{version} on the PATH; name an interpreter by --python")
    return found


def _check(interpreter: str) -> None:
    """Raise unless the interpreter starts and can install pip; a pyenv shim or a bare Debian Python cannot."""
    question = "import importlib.util as u, sys; sys.exit(None if u.find_spec('ensurepip') else 'no module ensurepip')"
    try:
        answer = subprocess.run(
            [interpreter, "-c", question], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{interpreter} does not start: {error}") from None
    if answer.returncode:
        why = (answer.stderr.strip().splitlines() or ["no message"])[0]
        raise Missing(f"{interpreter} cannot make an environment ({why}); name another one by --python")


def _make(interpreter: str, version: str, folder: Path) -> None:
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--no-cache-dir"]
    requirement = version if version.count(".") > 1 else f"{version}.*"
    subprocess.run([*pip, f"torch=={requirement}"], check=True)
    frozen = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(_without((ROOT / "constraints.txt").read_text(encoding="utf-8"), frozen))
        constraints.flush()
        subprocess.run([*pip, "-c", constraints.name, "-e", f"{ROOT}[dev]"], check=True)


def _without(constraints: str, frozen: str) -> str:
    """Return the constraints but for those on distributions that are installed already."""
    installed = {_distribution(line) for line in frozen.splitlines()}
    return "".join(line for line in constraints.splitlines(keepends=True) if _distribution(line) not in installed)


def _distribution(line: str) -> str:
    """Return the normalised name that a line of constraints starts with."""
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>!~;\s]", line, maxsplit=1)[0]).lower()


if __name__ == "__main__":
    sys.exit(main())
