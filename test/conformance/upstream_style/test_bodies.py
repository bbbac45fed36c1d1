"""Bodies that never run in ranks, and a skip in one of several subtests."""

from torch.testing._internal.common_distributed import MultiProcessTestCase
from torch.testing._internal.common_utils import run_tests
from torch.testing._internal.distributed._tensor.common_dtensor import DTensorTestBase, with_comms


class BodiesTest(MultiProcessTestCase):
    world_size = 2

    def setUp(self):
        super().setUp()
        self._spawn_processes()

    async def test_coroutine(self):
        self.fail("the body")

    def test_generator(self):
        yield
        self.fail("the body")

    def test_skip_in_a_subtest(self):
        for number in (1, 2):
            with self.subTest(number=number):
                if number == 1:
                    self.skipTest("not for one")
                self.fail("the second")

    def test_passes(self):
        with self.subTest(number=1):
            self.assertLess(self.rank, 2)


class CommsTest(DTensorTestBase):
    world_size = 2

    @with_comms
    async def test_coroutine(self):
        self.fail("the body")


if __name__ == "__main__":
    run_tests()
