"""A dictionary's version changes with its content and only then. Where Python has no versions, each has changed."""

import gc
import sys
import types
import unittest
from unittest import mock

from torch_testing_shim._isolation import dict_versions
from torch_testing_shim._isolation.dict_versions import ChangeWatch, version_of
from torch_testing_shim.common_utils import TestCase, run_tests


class Changed:
    """A class whose attributes a test changes."""


def changes_of(content):
    """Ways to change a dictionary that has the key "a", by name."""
    return {
        "a new key": lambda: content.update(b=1),
        "another value": lambda: content.update(a=object()),
        "an equal value": lambda: content.update(a=float("1")),
        "a value taken out": lambda: content.pop("a"),
        "emptied": content.clear,
    }


class VersionTest(TestCase):
    @unittest.skipIf(sys.version_info >= (3, 14), "this Python's dictionaries have no versions")
    def test_each_change_gives_a_new_version_and_a_look_does_not(self):
        for name in changes_of({}):
            with self.subTest(name):
                content = {"a": 1.0}
                version = version_of(content)
                before = version.value
                self.assertEqual((1.0, ["a"], {"a": 1.0}), (content["a"], list(content), content.copy()))
                gc.collect()
                self.assertEqual(before, version.value)
                changes_of(content)[name]()
                self.assertNotEqual(before, version.value)

    @unittest.skipIf(sys.version_info >= (3, 14), "this Python's dictionaries have no versions")
    def test_attributes_of_modules_and_classes(self):
        for owner in (types.ModuleType("changed"), Changed):
            with self.subTest(owner=owner):
                version = version_of(vars(owner))
                before = version.value
                getattr(owner, "absent", None)
                self.assertEqual(before, version.value)
                owner.attribute = 1
                between = version.value
                self.assertNotEqual(before, between)
                del owner.attribute
                self.assertNotEqual(between, version.value)

    def test_what_is_not_just_a_dictionary_always_differs(self):
        class Own(dict):
            """It may change without its dictionary."""

        for value in ([1], {1}, Own(), mock.MagicMock()):
            version = version_of(value)
            self.assertNotEqual(version.value, version.value)

    def test_a_python_without_versions(self):
        for name, value in (("_SIZE", 56), ("_PLACE", 0), ("_PLACE", 16), ("_PLACE", 32)):
            with self.subTest(name, value=value), mock.patch.object(dict_versions, name, value):
                self.assertFalse(dict_versions.versions_are_known.__wrapped__())


class ChangeWatchTest(TestCase):
    def test_it_tells_of_changes_and_of_another_dictionary_in_its_place(self):
        watch, content = ChangeWatch(), {"a": 1}
        self.assertTrue(watch.is_changed(content))
        watch.note(content)
        self.assertEqual(sys.version_info >= (3, 14), watch.is_changed(content))
        self.assertTrue(watch.is_changed({"a": 1}))
        content["a"] = 2
        self.assertTrue(watch.is_changed(content))


if __name__ == "__main__":
    run_tests()
