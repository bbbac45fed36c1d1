"""setUpClass and tearDownClass: state that tests of a class share, and what of it ranks see; fixtures that fail."""

import torch
from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import TestCase, run_tests


class SharedStateTest(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.calls = []
        cls.weights = torch.ones(3)

    @classmethod
    def tearDownClass(cls):
        assert cls.calls == ["a", "b"], cls.calls
        super().tearDownClass()

    def test_a(self):
        self.calls.append("a")
        self.assertEqual(self.weights, torch.ones(3))

    def test_b(self):
        self.calls.append("b")
        self.assertEqual(self.calls, ["a", "b"])


class RanksTest(MultiProcessTestCase):
    world_size = 2
    made_by = "import"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made_by = "setUpClass"

    def setUp(self):
        super().setUp()
        assert self.made_by == "setUpClass"
        self.only_here = True
        self._spawn_processes()

    def test_ranks_come_new_from_import(self):
        self.assertEqual(self.made_by, "import")
        self.assertFalse(hasattr(self, "only_here"))


class BrokenSetUpTest(TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("this class cannot be set up")

    def test_one(self):
        self.fail("must not run")


class BrokenTearDownTest(TestCase):
    @classmethod
    def tearDownClass(cls):
        raise RuntimeError("this class cannot be torn down")

    def test_one(self):
        self.assertTrue(True)


if __name__ == "__main__":
    run_tests()
