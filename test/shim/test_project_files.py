"""The files around the package: metadata, pins, README's commands, CI."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch_testing_shim
from torch_testing_shim.common_utils import TestCase, run_tests

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "pr.yml"
sys.path.insert(0, str(ROOT / "test" / "environments"))

import make  # noqa: E402

SH_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: The command that builds the site of docs/, and fails on a broken link.
SITE_COMMAND = "mkdocs build --strict"


def readme_commands() -> list[str]:
    """The text of each ```sh block of README.md, in order."""
    return [block.strip() for block in SH_BLOCK.findall((ROOT / "README.md").read_text())]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def check_workflow(path: Path) -> subprocess.CompletedProcess[str]:
    """Validates a workflow against GitHub's published schema, with the copy that check-jsonschema ships."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def ci_run(root: Path) -> subprocess.CompletedProcess[str]:
    """Ask the .ci/run of the checkout `root` for the command it would run."""
    command = ["bash", str(root / ".ci" / "run"), "--print"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


class MetadataTest(TestCase):
    def test_package_requires_exactly_three(self) -> None:
        self.assertEqual(["torch", "expecttest", "hypothesis"], setup_cfg()["options"]["install_requires"].split())

    def test_python_versions(self) -> None:
        self.assertEqual(">=3.10", setup_cfg()["options"]["python_requires"])

    def test_runner_extra(self) -> None:
        extras = setup_cfg()["options.extras_require"]
        expected = ["rich", "junitparser", "psutil", "argcomplete", "jinja2", "packaging", "tomlkit"]
        self.assertEqual(expected, extras["runner"].split())
        self.assertLessEqual(set(extras["runner"].split()), set(extras["dev"].split()))

    def test_the_version_stands_in_one_place_and_the_changelog_knows_it(self) -> None:
        self.assertEqual("attr: torch_testing_shim.__version__", setup_cfg()["metadata"]["version"])
        headings = re.findall(r"^## \[(.*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        self.assertEqual(["Unreleased", torch_testing_shim.__version__], headings[:2])

    def test_files_that_are_not_python_are_part_of_the_package(self) -> None:
        listed = {
            Path(*package.split("."), name)
            for package, names in setup_cfg()["options.package_data"].items()
            for name in names.split()
        }
        package = ROOT / "torch_testing_shim"
        found = {path for path in package.rglob("*.*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        self.assertEqual(listed, {path.relative_to(ROOT) for path in found})

    def test_pyproject_only_names_the_build_backend_and_where_tests_are(self) -> None:
        text = (ROOT / "pyproject.toml").read_text()
        tables = ["build-system", "tool.torch_testing_shim"]
        self.assertEqual(tables, re.findall(r"^\[(.*)\]$", text, re.MULTILINE))
        keys = re.findall(r"^([\w-]+) *=", text, re.MULTILINE)
        self.assertEqual(["requires", "build-backend", "root", "exclude-folders"], keys)

    def test_constraints_pin_each_requirement_to_one_public_version(self) -> None:
        lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
        marker = r'( ; python_version >= "3\.11")?'
        self.assertEqual([], [line for line in lines if not re.fullmatch(rf"[a-z0-9-]+==[0-9.]+{marker}", line)])
        pinned = {line.split("==")[0] for line in lines}
        config = setup_cfg()
        extras = config["options.extras_require"]
        wanted = [config["options"]["install_requires"], extras["dev"], extras["docs"]]
        self.assertEqual(set(), set(" ".join(wanted).split()) - pinned)
        self.assertIn("torch==2.13.0", lines)


class ReadmeTest(TestCase):
    def test_two_commands_for_a_fresh_machine_with_the_tested_versions(self) -> None:
        main_job, all_tests = readme_commands()[:2]
        for command in (main_job, all_tests):
            self.assertIn("pip install -c constraints.txt", command)
        self.assertIn("python test/distributed/checkpoint/test_fsdp_optim_state.py", main_job)
        self.assertIn("'.[dev]'", all_tests)
        self.assertIn("run_test.py", all_tests)


class CiRunTest(TestCase):
    def test_it_builds_the_site_as_contributing_says(self) -> None:
        for name in (".ci/run", "CONTRIBUTING.md"):
            text = (ROOT / name).read_text()
            self.assertIn("pip install -c constraints.txt -e '.[docs]'", text)
            self.assertIn(SITE_COMMAND, text)

    def test_command_is_the_second_of_the_readme(self) -> None:
        result = ci_run(ROOT)
        self.assertEqual((0, readme_commands()[1] + "\n", ""), (result.returncode, result.stdout, result.stderr))

    def test_readme_without_the_command_is_an_error(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / ".ci").mkdir()
            shutil.copy(ROOT / ".ci" / "run", root / ".ci" / "run")
            readme = (ROOT / "README.md").read_text()
            (root / "README.md").write_text(readme.replace("## Run all the tests", "## Something else"))
            result = ci_run(root)
        self.assertEqual((2, ""), (result.returncode, result.stdout))
        self.assertExpectedInline(
            result.stderr,
            """\
.ci/run: README.md needs a ```sh block under each of the headings "## Run the main job" and "## Run all the tests"
""",
        )


class WorkflowTest(TestCase):
    def test_workflow_is_valid(self) -> None:
        result = check_workflow(WORKFLOW)
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)

    def test_the_schema_check_can_fail(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "pr.yml"
            broken.write_text(WORKFLOW.read_text().replace("runs-on:", "run-on:"))
            result = check_workflow(broken)
        self.assertEqual(1, result.returncode, result.stdout + result.stderr)

    def test_workflow_installs_and_runs_as_the_readme_does(self) -> None:
        text = WORKFLOW.read_text()
        install = "pip install -c constraints.txt -e '.[dev]'"
        self.assertIn(install, readme_commands()[1])
        of_docs = install.replace("dev", "docs")
        self.assertEqual(text.count("pip install"), text.count(install) + text.count(of_docs))
        self.assertIn(SITE_COMMAND, text)
        self.assertIn("python run_test.py --shard ${{ matrix.shard }} 2 --save-xml --keep-going", text)

    def test_the_verdict_is_over_every_torch_that_is_tested(self) -> None:
        """A group of shards that the last job does not ask for could be missing without a word."""
        text = WORKFLOW.read_text()
        tested = re.findall(r'\{torch: "([\d.]+)", python: "([\d.]+)"\}', text)
        merged = re.findall(r"out/torch([\d.]+)", re.search(r"--merge-reports (.*)", text)[1])  # type: ignore[index]
        self.assertEqual([torch for torch, _ in tested], merged)
        self.assertEqual(make.PYTHONS, dict(tested))
        self.assertIn("python test/environments/make.py ${{ matrix.version.torch }} .venv", text)


class EnvironmentTest(TestCase):
    """`test/environments/make.py`, up to where it would install torch."""

    def refusal(self, *arguments: str) -> str:
        command = [sys.executable, make.__file__, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual((2, ""), (done.returncode, done.stdout), done.stderr)
        return done.stderr

    def test_what_is_missing_is_said_in_one_sentence(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            absent, broken = f"{folder}/absent", Path(folder, "broken")
            broken.write_text("#!/bin/sh\necho 'no such version' >&2; echo more >&2; exit 1\n")
            broken.chmod(0o755)
            sentence = self.refusal("2.13", f"{folder}/new", "--python", absent)
            self.assertRegex(sentence, rf"^make.py: {absent} does not start: .*\n$")
            said = self.refusal("2.13", f"{folder}/new", "--python", str(broken))
            wanted = f"{broken} cannot make an environment (no such version); name another one by --python"
            self.assertEqual(f"make.py: {wanted}\n", said)
            said = self.refusal("2.13", folder, "--python", sys.executable)
            self.assertEqual(f"make.py: {folder} exists already; remove it or name another folder\n", said)
        self.assertIn("'two' is not a version such as 2.6", self.refusal("two", "x"))

    def test_constraints_leave_out_what_torch_has_brought(self) -> None:
        constraints = '# pins\nsympy==1.14.0\ntyping-extensions==4.16.0\nnumpy==2.4.6 ; python_version >= "3.11"\n'
        left = make._without(constraints, "sympy==1.13.1\ntyping_extensions==4.1\n")
        self.assertEqual('# pins\nnumpy==2.4.6 ; python_version >= "3.11"\n', left)


if __name__ == "__main__":
    run_tests()
