"""Storages that are broken on purpose: the suite finds each, says what is wrong, and fails."""

import sys
from pathlib import Path

from torch.distributed.checkpoint.utils import _DistWrapper

from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: Torch 2.6 cannot save in a group without rank 0, which makes two saves at once "torch's own" failure.
SAVES_IN_ANY_GROUP = hasattr(_DistWrapper(None, False, 0), "global_coordinator_rank")

BROKEN = """
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from torch.distributed.checkpoint import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch_testing_shim.conformance import CheckpointConformance, Selection
from torch_testing_shim.conformance._optimizers import OPTIMIZERS


class LosesAShard(FileSystemWriter):
    def write_data(self, plan, planner):
        return super().write_data(replace(plan, items=plan.items[1:]), planner)


class Swapped:
    \"\"\"A planner that gives the data of another item.\"\"\"

    def __init__(self, planner, items):
        self.planner, self.items = planner, items

    def resolve_data(self, item):
        return self.planner.resolve_data(self.items.get(item.index.fqn, item))


class SwapsTwins(FileSystemWriter):
    def write_data(self, plan, planner):
        items = {item.index.fqn: item for item in plan.items}
        swapped = {"twin": items["weight"], "weight": items["twin"]}
        return super().write_data(plan, Swapped(planner, swapped))


class MetadataFirst(FileSystemWriter):
    \"\"\"Says what is there before it is in its place.\"\"\"

    def write_data(self, plan, planner):
        place, self.path = self.path, Path(self.path, "pending")
        self.path.mkdir(exist_ok=True)
        try:
            return super().write_data(plan, planner)
        finally:
            self.path = place

    def finish(self, metadata, results):
        super().finish(metadata, results)
        for file in sorted(Path(self.path, "pending").iterdir()):
            file.rename(Path(self.path, file.name))


class OnePlace(FileSystemWriter):
    \"\"\"Each file is written at a place that all saves share, and then moved.\"\"\"

    def __init__(self, path):
        super().__init__(path)
        self.fs.create_stream = self.create_stream

    @contextmanager
    def create_stream(self, path, mode):
        pending = Path(self.path).parents[1] / path.name
        with pending.open(mode) as file:
            yield file
        pending.rename(path)


class OneCheck(CheckpointConformance):
    def reader(self, path):
        return FileSystemReader(path)


SAVES = OneCheck.test_saves
TRIPS = OneCheck.test_round_trip_of_replicated, OneCheck.test_round_trip_of_ddp, OneCheck.test_round_trip_of_tp
EVERY_KEY = OneCheck.test_keys
OVER_OLD = OneCheck.test_a_save_over_an_old_checkpoint_that_fails
for name in dir(OneCheck):
    if name.startswith("test_") and name != "test_planners":
        setattr(OneCheck, name, None)


class Loses(OneCheck):
    def writer(self, path):
        return LosesAShard(path)


class Swaps(OneCheck):
    def writer(self, path):
        return SwapsTwins(path)


class Early(OneCheck):
    test_planners = None
    test_a_save_over_an_old_checkpoint_that_fails = OVER_OLD

    def writer(self, path):
        return MetadataFirst(path)


class Clashes(OneCheck):
    test_planners = None
    test_saves = SAVES

    def writer(self, path):
        return OnePlace(path)


class Nothing(OneCheck):
    pass


class Lenient(OneCheck):
    \"\"\"Its planner, not its writer, lets a key pass that was never saved.\"\"\"

    test_planners = None
    test_keys = EVERY_KEY

    def writer(self, path):
        return FileSystemWriter(path)

    def planner(self):
        return None, DefaultLoadPlanner(allow_partial_load=True)


class Spreads(OneCheck):
    \"\"\"Spreads models its own way: one does not train whole, and one it cannot spread.\"\"\"

    test_planners = None
    test_round_trip_of_replicated, test_round_trip_of_ddp, test_round_trip_of_tp = TRIPS
    selection = Selection(((2, 1),), OPTIMIZERS[:1])

    def writer(self, path):
        return FileSystemWriter(path)

    def build(self, strategy, model, ranks):
        if strategy.name == "TP":
            raise NotImplementedError("this trainer has no TP")
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: dist.all_reduce(gradient) or gradient / ranks)
        model.twin.requires_grad_(strategy.name != "DDP")
        return model


del OneCheck
"""


class BrokenStoragesTest(SampleTestCase):
    def test_each_is_found(self):
        run = self.run_sample(BROKEN)
        self.assertEqual(1, run.exit_code, run.output)
        statuses = {name: entry.status for name, entry in run.entries.items()}
        wanted = {f"{name}.test_planners": TestStatus.FAILED for name in ("Loses", "Swaps", "Nothing")}
        wanted["Lenient.test_keys"] = TestStatus.FAILED
        wanted["Clashes.test_saves"] = TestStatus.FAILED if SAVES_IN_ANY_GROUP else TestStatus.PASSED
        wanted["Spreads.test_round_trip_of_replicated"] = TestStatus.PASSED
        wanted["Spreads.test_round_trip_of_ddp"] = wanted["Spreads.test_round_trip_of_tp"] = TestStatus.FAILED
        wanted["Early.test_a_save_over_an_old_checkpoint_that_fails"] = TestStatus.FAILED
        self.assertEqual(wanted, statuses, run.output)
        self.assertIn("keys: a key that was not saved is refused: WRONG: load: it loads absent", run.output)
        if SAVES_IN_ANY_GROUP:
            self.assertIn("1 of 3 rows are not as they should be", run.entries["Clashes.test_saves"].reason)
            two_at_once = r"saves: two at once, by two halves of the ranks: (refuses: save|WRONG: load): "
            self.assertRegex(run.output, two_at_once)
        self.assertIn("of 4 rows are not as they should be", run.entries["Loses.test_planners"].reason)
        self.assertRegex(run.output, r"loaded by torch's planner: refuses: load: KeyError")
        self.assertRegex(run.output, r"WRONG: load: twin in its shard: \d+ of \d+ elements differ")
        self.assertRegex(
            run.output,
            r"that fails: fail rank 0 at its 3rd Path\.rename\(\): WRONG: load: MIXED: bias is old, table is old",
        )
        self.assertIn("DDP: AdamW foreach, 2 -> 1: WRONG: train: optimizer.twin.bias.exp_avg is missing", run.output)
        said = "TP: AdamW foreach, 2 -> 1: refuses: train: NotImplementedError: this trainer has no TP\n"
        self.assertIn(said, run.output)
        self.assertIn("Nothing has to say what writes: def writer(self, path)", run.output)


if __name__ == "__main__":
    run_tests()
