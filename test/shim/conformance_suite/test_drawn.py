"""States that hypothesis draws: a storage that errs is found, and the report prints the smallest example."""

import sys
from pathlib import Path

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests
from torch_testing_shim.conformance._drawn import Example, examples

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase
from properties import given

STORAGE = """
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch_testing_shim.conformance import CheckpointConformance

class ForgetsHalves(FileSystemWriter):
    '''Writes zeros for tensors of float16.'''

    def write_data(self, plan, planner):
        resolve = planner.resolve_data

        def resolve_data(item):
            data = resolve(item)
            return data.zero_() if getattr(data, "dtype", None) is torch.float16 else data

        planner.resolve_data = resolve_data
        return super().write_data(plan, planner)

class TestForgetful(CheckpointConformance):
    blames_torch = False

    def writer(self, path):
        return ForgetsHalves(path)

    def reader(self, path):
        return FileSystemReader(path)

class TestRight(TestForgetful):
    def writer(self, path):
        return FileSystemWriter(path)
"""


class Drawn(SampleTestCase):
    @given(examples())
    def test_an_example_is_told_to_other_ranks(self, example):
        self.assertEqual(example, Example.from_json(example.to_json()))

    @given(examples())
    def test_a_placement_cuts_a_dimension_that_the_tensor_has(self, example):
        for tensor in example.tensors:
            for placement in (tensor.saved_as, tensor.loaded_as):
                self.assertTrue(placement in ("plain", "replicated") or int(placement) < len(tensor.shape))

    def test_the_smallest_example_is_told(self):
        run = self.run_sample(STORAGE, "-k", "drawn_states")
        self.assert_status(run, "TestRight.test_drawn_states", TestStatus.PASSED)
        found = self.assert_status(run, "TestForgetful.test_drawn_states", TestStatus.FAILED)
        self.assertRegex(
            found.reason + run.output,
            r"drawn states: of tensors: WRONG: compare: tensor 0: 1 of 1 elements differ, the first at 0: 0\.0, not .*"
            r" \(smallest example: 1 -> 1 ranks: float16\[\] plain -> plain\)",
        )


if __name__ == "__main__":
    run_tests()
