"""Sample test files on the devices of the sample backend, which are simulated: their memory is the host's."""

from __future__ import annotations

from harness_samples import SampleTestCase
from test_sample_backend import Package


class QuartzTestCase(SampleTestCase):
    """Runs samples where the sample backend is installed; TORCH_TESTING_SHIM_DEVICE_INDICES="0" leaves one device."""

    def setUp(self):
        super().setUp()
        self._package = Package(self.folder / "site")
        self._package.site.mkdir()
        self._package.install()

    def environment(self, **extra):
        return super().environment(**{"PYTHONPATH": self._package.import_path, **extra})
