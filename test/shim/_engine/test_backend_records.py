"""Records of backends: what a record may hold, and how packages' entry points become records.

The distributions are real ones, of a folder that the test writes.
"""

import sys
import tempfile
import textwrap
from importlib.metadata import distributions
from pathlib import Path

from torch_testing_shim._engine.backend_records import (
    ENTRY_POINT_GROUP,
    Backend,
    DeviceError,
    FoundBackend,
    load_records,
)
from torch_testing_shim.common_utils import TestCase, run_tests

MODULE = """
from torch_testing_shim.backends import Backend
first, second, wrong = Backend("ruby"), Backend("opal", fork_safe=False), "ruby"
"""


class Record(TestCase):
    def test_what_it_may_not_hold(self):
        for wrong, text in [
            ({"device_type": ""}, "device_type of a Backend cannot be ''"),
            ({"device_type": None}, "device_type of a Backend cannot be None"),
            ({"pg_backend": 3}, "pg_backend of a Backend cannot be 3"),
            ({"fork_safe": "no"}, "fork_safe of a Backend cannot be 'no'"),
            ({"capabilities": "clock"}, "capabilities of a Backend cannot be 'clock'"),
            ({"capabilities": frozenset({1})}, "capabilities of a Backend cannot be frozenset({1})"),
            ({"before_rank": "torch_ruby.start"}, "before_rank of a Backend cannot be 'torch_ruby.start'"),
            ({"after_rank": 0}, "after_rank of a Backend cannot be 0"),
        ]:
            with self.subTest(wrong), self.assertRaises(TypeError) as caught:
                Backend(**{"device_type": "ruby", **wrong})
            self.assertEqual(text, str(caught.exception))


class Installed(TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="backend-records-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.module = f"records_of_{self.folder.name.replace('-', '_')}"
        self.write_module(MODULE)
        sys.path.insert(0, str(self.folder))
        self.addCleanup(sys.path.remove, str(self.folder))
        self.addCleanup(sys.modules.pop, self.module, None)

    def write_module(self, text):
        (self.folder / f"{self.module}.py").write_text(text)

    def install(self, name, **values):
        """A distribution whose entry points have these names and values; `{}` in a value stands for the module."""
        info = self.folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value.format(self.module)}" for key, value in values.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINT_GROUP}]", *lines]))

    def records(self):
        found = distributions(path=[str(self.folder)])
        return load_records([each for one in found for each in one.entry_points if each.group == ENTRY_POINT_GROUP])

    def assert_refused(self, text):
        with self.assertRaises(DeviceError) as caught:
            self.records()
        self.assertEqual(text, str(caught.exception))

    def test_none(self):
        self.assertEqual({}, self.records())

    def test_two_devices(self):
        self.install("torch-gems", ruby="{}:first", any_name="{}:second")
        found = self.records()
        self.assertEqual({"ruby", "opal"}, set(found))
        self.assertEqual(FoundBackend(Backend("opal", fork_safe=False), "torch-gems 1.0"), found["opal"])

    def test_one_that_cannot_be_imported(self):
        self.install("torch-gems", ruby="no_such_module_of_gems:first")
        self.assert_refused(
            "the backend record 'ruby' of torch-gems 1.0 cannot be loaded: ModuleNotFoundError: "
            "No module named 'no_such_module_of_gems'"
        )

    def test_one_that_is_not_there(self):
        self.install("torch-gems", ruby="{}:third")
        self.assert_refused(
            "the backend record 'ruby' of torch-gems 1.0 cannot be loaded: AttributeError: "
            f"module {self.module!r} has no attribute 'third'"
        )

    def test_one_whose_module_raises(self):
        self.install("torch-gems", ruby="{}:first")
        self.write_module(textwrap.dedent("raise OSError('no driver')"))
        self.assert_refused("the backend record 'ruby' of torch-gems 1.0 cannot be loaded: OSError: no driver")

    def test_one_that_is_none(self):
        self.install("torch-gems", ruby="{}:wrong")
        self.assert_refused(
            "the backend record 'ruby' of torch-gems 1.0 is no torch_testing_shim.backends.Backend but 'ruby'"
        )

    def test_two_for_one_device(self):
        self.install("torch-gems", ruby="{}:first", other="{}:first")
        self.assert_refused("torch-gems 1.0 has two times a backend record for device 'ruby'")

    def test_two_packages_for_one_device(self):
        self.install("torch-gems", ruby="{}:first")
        self.install("torch-ruby", ruby="{}:first")
        with self.assertRaisesRegex(
            DeviceError, r"^both torch-\w+ 1\.0 and torch-\w+ 1\.0 have a backend record for device 'ruby'$"
        ):
            self.records()


if __name__ == "__main__":
    run_tests()
