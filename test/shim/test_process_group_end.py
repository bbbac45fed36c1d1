"""`keep_connections`: a destroyed group is gone for Python, and its connections are still there."""

from harness_samples import SampleTestCase

from torch_testing_shim._journal import TestStatus
from torch_testing_shim.common_utils import run_tests


class KeepConnections(SampleTestCase):
    def test_connections_outlive_the_group(self):
        run = self.run_sample(
            """
            from torch_testing_shim._process_group_end import keep_connections

            def sockets():
                names = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
                return sum(os.readlink(name).startswith("socket:") for name in names if os.path.lexists(name))

            class Ends(DTensorTestBase):
                world_size = 2

                def test_kept(self):
                    self.assertEqual(self._sockets_after_the_end(keep=True), "some")

                def test_not_kept(self):
                    self.assertEqual(self._sockets_after_the_end(keep=False), "none")

                def _sockets_after_the_end(self, keep):
                    before = sockets()
                    self.init_pg()
                    if keep:
                        keep_connections()
                    self.destroy_pg()
                    self.assertFalse(dist.is_initialized())
                    return "some" if sockets() > before else "none"
            """
        )
        for name in ("kept", "not_kept"):
            self.assert_status(run, f"Ends.test_{name}", TestStatus.PASSED)


if __name__ == "__main__":
    run_tests()
