"""Samples that run on the device of `sample_backend/`.

Torch and the harness find the package as they find any that is installed, by its entry points, which setuptools writes
into a folder of the test's.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import torch
from harness_samples import ROOT, SampleTestCase

SAMPLE = Path(__file__).resolve().parent / "sample_backend"
OWN_RECORD = "torch_quartz.harness:backend"
WRITE_ENTRY_POINTS = "import setuptools; setuptools.setup()"


needs_quartz = unittest.skipUnless(hasattr(torch._C, "_acc"), "this torch knows no device that is written in Python")


@functools.cache
def _own_metadata() -> dict[str, str]:
    """Return the files that setuptools writes of an installed package, by their paths in its site."""
    with tempfile.TemporaryDirectory(prefix="sample-backend-") as site:
        command = [sys.executable, "-c", WRITE_ENTRY_POINTS, "-q", "egg_info", "--egg-base", site]
        subprocess.run(command, cwd=SAMPLE, check=True, capture_output=True)
        return {str(path.relative_to(site)): path.read_text() for path in Path(site).glob("*/*")}


class Package:
    """The sample as an environment has it that it is installed in."""

    def __init__(self, site: Path) -> None:
        self.site = site

    def install(self, record: str = "") -> None:
        """Write its entry points.

        Args:
            record: a module that has another record of its device than the package's own; none by default.
        """
        for name, text in _own_metadata().items():
            path = self.site / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        if record:
            (self.site / "other_record.py").write_text(record)
            entry_points = next(self.site.glob("*.egg-info")) / "entry_points.txt"
            entry_points.write_text(entry_points.read_text().replace(OWN_RECORD, "other_record:backend"))

    @property
    def import_path(self) -> str:
        return os.pathsep.join(map(str, (self.site, SAMPLE, ROOT)))


@needs_quartz
class QuartzTestCase(SampleTestCase):
    """Runs samples in an environment in which `package` is installed once a test has installed it."""

    is_cold = True  # an interpreter looks for the packages of devices when torch is imported

    def setUp(self) -> None:
        super().setUp()
        self.package = Package(self.folder / "site")
        self.package.site.mkdir()

    def environment(self, **extra: str) -> dict[str, str]:
        own = {"PYTHONPATH": self.package.import_path, "TORCH_TESTING_SHIM_DEVICE": ""}
        return super().environment(**{**own, **extra})

    def add_run_test(self) -> None:
        """Put `run_test.py` into the folder of the samples, which are in `test/`."""
        (self.folder / "test").mkdir()
        shutil.copy(ROOT / "run_test.py", self.folder)


class InstalledQuartzTestCase(QuartzTestCase):
    """Runs samples where the sample backend is installed; TORCH_TESTING_SHIM_DEVICE_INDICES="0" leaves one device."""

    def setUp(self) -> None:
        super().setUp()
        self.package.install()
