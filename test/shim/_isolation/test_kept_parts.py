"""A part is put back where it has changed, and a sentence says where that fails."""

import sys
import types

from torch_testing_shim._isolation.kept_parts import Part, attributes, module_global, put_back
from torch_testing_shim.common_utils import TestCase, run_tests


class PutBack(TestCase):
    def test_says_what_fails(self):
        now = [1]
        self.assertIsNone(put_back(Part("a part", lambda: now[0], self.fail), 1))
        self.assertIsNone(put_back(Part("a part", lambda: now[0], lambda kept: now.__setitem__(0, kept)), 2))
        self.assertEqual([2], now)
        stays = Part("a part", lambda: now[0], lambda _: None)
        self.assertEqual("a part: could not be put back", put_back(stays, 3))
        self.assertIsNone(put_back(Part("a part", lambda: now[0], lambda _: None, is_checked=False), 3))
        raises = Part("a part", lambda: now[0], lambda kept: 1 / 0)
        self.assertEqual("a part: could not be put back (ZeroDivisionError: division by zero)", put_back(raises, 3))

    def test_attributes(self):
        table, numbers, names = {"a": 1}, {1}, ["a"]
        owner = types.SimpleNamespace(table=table, numbers=numbers, names=names, flag=True)
        part = attributes("an object", owner, ("table", "numbers", "names", "flag", "absent"))
        kept = part.read()
        table.clear()
        names.append("b")
        numbers.add(2)
        owner.names, owner.flag, owner.absent = None, False, 1
        self.assertIsNone(put_back(part, kept))
        self.assertEqual(types.SimpleNamespace(table={"a": 1}, numbers={1}, names=["a"], flag=True), owner)
        self.assertIs(names, owner.names)

    def test_globals_of_a_module_that_is_imported_later(self):
        self.addCleanup(sys.modules.pop, "of_this_test", None)
        parts = [module_global("of_this_test", "table"), module_global("of_this_test", "flag", fresh=True)]
        kept = [part.read() for part in parts]
        self.assertEqual([None, None], [put_back(*each) for each in zip(parts, kept, strict=True)])
        module = sys.modules["of_this_test"] = types.ModuleType("of_this_test")
        table = module.table = {"a": 1}
        module.flag = False
        self.assertEqual([None, None], [put_back(*each) for each in zip(parts, kept, strict=True)])
        self.assertEqual(({}, True), (module.table, module.flag))
        self.assertIs(table, module.table)


if __name__ == "__main__":
    run_tests()
