"""Backends of a run that maps devices. What the calls do then, `test_mapped_devices` sees with real ranks."""

from torch_testing_shim._shared.device_map import DeviceMap
from torch_testing_shim._upstream.distributed_calls import _wrap, mapped_backend
from torch_testing_shim.common_utils import TestCase, run_tests


class DistributedCalls(TestCase):
    def test_backends(self):
        for backend, expected in (
            ("nccl", "gloo"),
            ("NCCL", "gloo"),
            ("gloo", "gloo"),
            ("mpi", "mpi"),
            (None, None),
            ("cpu:gloo,cuda:nccl", "cpu:gloo"),
            ("cuda:nccl", "cpu:gloo"),
            ("cuda:nccl,xpu:xccl", "xpu:xccl,cpu:gloo"),
            ("cpu:mpi,cuda:nccl", "cpu:mpi"),
        ):
            with self.subTest(backend):
                self.assertEqual(expected, mapped_backend(DeviceMap("cuda", "cpu"), "nccl", "gloo", backend))

    def test_a_wrapped_call_keeps_what_is_not_changed(self):
        class Owner:
            @staticmethod
            def call(a, b=2, *rest, c=3, **others):
                return a, b, rest, c, others

        class Other:
            call = Owner.call

        _wrap([Owner, Other], "call", lambda arguments: {"b": arguments["a"] + 1, "unknown": 0})
        for owner in (Owner, Other):
            self.assertEqual((1, 2, (), 3, {}), owner.call(1))
            self.assertEqual((1, 2, (8,), 4, {"d": 5}), owner.call(1, 9, 8, c=4, d=5))
            self.assertEqual((7, 8, (), 3, {}), owner.call(b=1, a=7))
            with self.assertRaises(TypeError):
                owner.call()


if __name__ == "__main__":
    run_tests()
