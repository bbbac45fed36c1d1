"""A device of a maintainer's own in generic tests: its base class, decorators, and parametrization by hand."""

import unittest
from functools import partial

import torch
from torch.testing._internal import common_device_type
from torch.testing._internal.common_device_type import (
    CPUTestBase,
    DeviceTypeTestBase,
    device_type_test_bases,
    deviceCountAtLeast,
    dtypes,
    expectedFailure,
    filter_desired_device_types,
    get_desired_device_type_test_bases,
    instantiate_device_type_tests,
    onlyCPU,
    onlyNativeDeviceTypes,
    onlyOn,
    ops,
    skipIf,
    skipMetaIf,
    tol,
    toleranceOverride,
)
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_utils import (
    TestCase,
    _TestParametrizer,
    compose_parametrize_fns,
    decorateIf,
    dtype_name,
    instantiate_parametrized_tests,
    parametrize,
    reparametrize,
    run_tests,
    subtest,
)


class MetaTestBase(DeviceTypeTestBase):
    device_type = "meta"

    @classmethod
    def get_primary_device(cls):
        return "meta"

    def _should_stop_test_suite(self):
        return False


device_type_test_bases.append(MetaTestBase)
onlyMeta = partial(onlyOn, "meta")
skipOnMeta = partial(skipIf, True)


class both_signs(_TestParametrizer):
    """A decorator of the file's own that makes two tests of one."""

    def _parametrize_test(self, test, generic_cls, device_cls):
        for sign, name in ((1, "plus"), (-1, "minus")):
            yield test, name, {"sign": sign}, lambda _: []


class with_letters(both_signs):
    def _parametrize_test(self, test, generic_cls, device_cls):
        for letter in "ab":
            decorators = [unittest.skip("b")] if letter == "b" else []
            yield test, letter, {"letter": letter}, lambda _, decorators=decorators: decorators


class TestBoth(TestCase):
    shared = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = cls.device_type if hasattr(cls, "device_type") else "none"

    def setUp(self):
        super().setUp()
        self.made = torch.zeros(2, device=self.get_primary_device())

    def test_devices(self, device):
        self.assertEqual(self.made.device.type, torch.device(device).type)
        self.assertEqual(self.shared, self.device_type)

    @onlyCPU
    def test_on_cpu(self, device):
        self.assertEqual(device, "cpu")

    @onlyMeta()
    def test_on_meta(self, device):
        self.assertTrue(torch.ones(1, device=device).is_meta)

    @onlyNativeDeviceTypes
    def test_native(self, device):
        self.assertIn(self.device_type, ("cpu", "meta"))

    @skipMetaIf(True, "not on meta")
    def test_values(self, device):
        self.assertEqual(self.made.tolist(), [0, 0])

    @expectedFailure("meta")
    def test_values_of_meta(self, device):
        self.made.tolist()

    @both_signs()
    @dtypes(torch.float32, torch.int64)
    def test_signs(self, device, dtype, sign):
        self.assertEqual(abs(sign), 1)
        self.assertEqual(torch.ones(1, dtype=dtype, device=device).dtype, dtype)

    @with_letters()
    @parametrize("number", [1, 2])
    def test_letters(self, device, letter, number):
        self.assertEqual(letter, "a")

    @ops([op for op in op_db if op.name == "neg"], allowed_dtypes=(torch.float32,))
    def test_operator(self, device, dtype, op):
        sample = next(iter(op.sample_inputs(device, dtype)))
        self.assertEqual(op(sample.input).device.type, torch.device(device).type)

    @deviceCountAtLeast(1)
    def test_all_devices(self, devices):
        self.assertEqual(len(devices), 1)

    @parametrize("shape", [(1,), (2, 3)], name_fn=lambda shape: "x".join(map(str, shape)))
    def test_named(self, device, shape):
        self.assertEqual(tuple(torch.empty(shape, device=device).shape), shape)

    @toleranceOverride({torch.float32: tol(atol=1, rtol=0)})
    @dtypes(torch.float32)
    def test_tolerance(self, device, dtype):
        self.assertEqual(torch.ones(1), torch.ones(1) + 0.5)

    def test_wrong_on_meta(self, device):
        self.assertEqual(device, "cpu")


class Inherited(TestBoth):
    """Whose tests are those of the class above, and one."""

    def test_more(self, device):
        self.assertIsInstance(self, DeviceTypeTestBase)

    def test_all_devices(self, device):
        self.skipTest("replaced")


class TestPlainParametrization(TestCase):
    @parametrize("a,b", [(1, 2), subtest((3, 4), name="named", decorators=[unittest.expectedFailure])])
    @parametrize("dtype", [torch.float32, torch.bool], name_fn=dtype_name)
    def test_pairs(self, a, b, dtype):
        self.assertEqual((a, b), (1, 2))

    @reparametrize(parametrize("x", range(3)), lambda test, generic_cls, device_cls=None: [])
    def test_never_made(self, x):
        self.fail("no test is made of it")

    @decorateIf(unittest.skip("even"), lambda params: params["x"] % 2 == 0)
    @parametrize("x", range(3))
    @parametrize("flag", [True, False])
    def test_odd(self, x, flag):
        self.assertEqual(x, 1)

    @unittest.skipIf(True, "all of them")
    @parametrize("x", [1, 2])
    def test_skipped(self, x):
        self.fail("is skipped")

    @unittest.expectedFailure
    @parametrize("x", [1, 2])
    def test_one_succeeds(self, x):
        self.assertEqual(x, 1)


class TestChoices(TestCase):
    def test_bases(self):
        chosen = get_desired_device_type_test_bases(only_for=("cpu", "meta"))
        self.assertEqual({base.device_type for base in chosen}, {"cpu", "meta"})
        self.assertEqual(filter_desired_device_types(chosen, except_for=["cpu"]), [MetaTestBase])
        self.assertIn(CPUTestBase, common_device_type.device_type_test_bases)
        self.assertIsNotNone(compose_parametrize_fns)


instantiate_device_type_tests(TestBoth, globals(), only_for=("cpu", "meta"))
instantiate_device_type_tests(Inherited, globals(), only_for="meta")
instantiate_parametrized_tests(TestPlainParametrization)

if __name__ == "__main__":
    run_tests()
