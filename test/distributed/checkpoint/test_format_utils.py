# Owner(s): ["oncall: distributed checkpointing"]
"""Checkpoints become files of `torch.save` and the other way round: by function, by command, and while they are loaded.

Loading a file of `torch.save` is shown for plain tensors alone: with DTensors, `BroadcastingTorchSaveReader` fails in
all ranks but the coordinator, which waits for them (torch 2.13).
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from checkpoint_abilities import without_log
from torch.distributed.checkpoint import format_utils
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor, Shard

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks
from torch_testing_shim.distributed.checkpoint_utils import with_temp_dir

#: How long one command may take, in seconds. It takes as long as an import of torch.
COMMAND_TIMEOUT = 120


def _state():
    """Return nested state of several types, made anew by each call."""
    return {
        "model": {"weight": torch.arange(6.0).view(3, 2), "half": torch.tensor([1.5, -0.25], dtype=torch.bfloat16)},
        "optimizer": [{"exp_avg": torch.full((2,), 0.125)}, {"mask": torch.tensor([True, False])}],
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(7),
        "step": 7,
        "names": ["a", "b"],
    }


def _names(state, path=()):
    """Yield the place and the value of each leaf."""
    parts = state.items() if isinstance(state, dict) else enumerate(state)
    for key, value in parts:
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
            yield from _names(value, (*path, key))
        else:
            yield (*path, key), value


class FormatTestCase:
    def assert_same(self, expected, actual):
        """Check that two states have the same leaves, bit for bit."""
        expected_leaves, actual_leaves = dict(_names(expected)), dict(_names(actual))
        self.assertEqual(set(expected_leaves), set(actual_leaves))
        for name, leaf in expected_leaves.items():
            other = actual_leaves[name]
            if isinstance(leaf, torch.Tensor):
                self.assertEqual(leaf.dtype, other.dtype, f"{name}: dtype")
                self.assertTrue(torch.equal(leaf, other), f"{name}: {other.tolist()} is not {leaf.tolist()}")
            else:
                self.assertEqual(leaf, other)


class FormatUtilsTest(FormatTestCase, TestCase):
    """One process without a process group."""

    @with_temp_dir
    def test_a_checkpoint_becomes_a_file(self):
        folder, file = f"{self.temp_dir}/folder", f"{self.temp_dir}/file.pt"
        dcp.save(_state(), checkpoint_id=folder)
        format_utils.dcp_to_torch_save(folder, file)
        self.assert_same(_state(), torch.load(file, weights_only=True))

    @with_temp_dir
    def test_a_file_becomes_a_checkpoint(self):
        folder, file = Path(self.temp_dir) / "folder", Path(self.temp_dir) / "file.pt"
        torch.save(_state(), file)
        format_utils.torch_save_to_dcp(file, folder)
        loaded = _state()
        for name, leaf in _names(loaded):
            if isinstance(leaf, torch.Tensor):
                leaf.zero_()
            else:
                self.assertEqual(1, len(name))
                loaded[name[0]] = None
        dcp.load(loaded, checkpoint_id=folder)
        self.assert_same(_state(), loaded)

    @without_log
    @with_temp_dir
    def test_what_is_missing_is_refused(self):
        nowhere, file = f"{self.temp_dir}/nowhere", f"{self.temp_dir}/file.pt"
        with self.assertRaisesRegex(FileNotFoundError, "nowhere"):
            format_utils.torch_save_to_dcp(nowhere, f"{self.temp_dir}/folder")
        with self.assertRaisesRegex(CheckpointException, r"nowhere/\.metadata"):
            format_utils.dcp_to_torch_save(nowhere, file)
        self.assertEqual([], os.listdir(self.temp_dir))

    @with_temp_dir
    def test_the_command_converts_both_ways(self):
        folder, file = f"{self.temp_dir}/folder", f"{self.temp_dir}/file.pt"
        dcp.save(_state(), checkpoint_id=folder)
        torch.save(_state(), file)
        new_folder, new_file, back = (f"{self.temp_dir}/new {name}" for name in ("folder", "file.pt", "back.pt"))
        ends = self._run([("dcp_to_torch", folder, new_file), ("torch_to_dcp", file, new_folder)])
        self.assertEqual([0, 0], [code for code, _ in ends])
        self.assert_same(_state(), torch.load(new_file, weights_only=True))
        format_utils.dcp_to_torch_save(new_folder, back)
        self.assert_same(_state(), torch.load(back, weights_only=True))

    @with_temp_dir
    def test_the_command_says_what_it_does_not_find(self):
        nothing = f"{self.temp_dir}/nothing"
        [(exit_code, output)] = self._run([("torch_to_dcp", f"{nothing}.pt", nothing)])
        self.assertEqual(0, exit_code)
        self.assertIn(f"No checkpoint found at {nothing}.pt", output)
        self.assertEqual([], os.listdir(self.temp_dir))

    def _run(self, commands):
        """Return exit code and output of each command. They run at once: each takes its time to import torch."""
        program = [sys.executable, "-m", "torch.distributed.checkpoint.format_utils"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes = [subprocess.Popen([*program, *command], cwd=self.temp_dir, **pipes) for command in commands]
        try:
            outputs = [process.communicate(timeout=COMMAND_TIMEOUT)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


class FormatUtilsInRanksTest(FormatTestCase, DTensorTestBase):
    @property
    def world_size(self):
        return 3

    def _sharded(self, full):
        """Return a tensor sharded over the ranks in its first dimension: 2, 2 and 1 of 5 rows, with three ranks."""
        local = full.tensor_split([2, 4])[self.rank].to(self.device_type).clone()
        mesh = self.build_device_mesh()
        return DTensor.from_local(local, mesh, [Shard(0)], shape=full.shape, stride=full.stride())

    def _on_first(self, call, *arguments):
        """Call in rank 0, and all wait for it."""
        with agreed_between_ranks():
            if self.rank == 0:
                call(*arguments)

    @with_comms
    @with_temp_dir
    def test_shards_of_ranks_become_whole_tensors_and_shards_again(self):
        saved, file, again = (f"{self.temp_dir}/{name}" for name in ("saved", "file.pt", "again"))
        full = torch.arange(15.0).view(5, 3)
        plain = torch.tensor([3, 1])
        dcp.save({"sharded": self._sharded(full), "deep": {"plain": plain, "step": 2}}, checkpoint_id=saved)
        self._on_first(format_utils.dcp_to_torch_save, saved, file)
        with agreed_between_ranks():
            expected = {"sharded": full, "deep": {"plain": plain, "step": 2}}
            self.assert_same(expected, torch.load(file, weights_only=True))
        self._on_first(format_utils.torch_save_to_dcp, file, again)
        loaded = {"sharded": self._sharded(torch.zeros_like(full)), "deep": {"plain": plain * 0, "step": 0}}
        dcp.load(loaded, checkpoint_id=again)
        with agreed_between_ranks():
            mine = loaded["sharded"].to_local().cpu()
            self.assertTrue(torch.equal(full.tensor_split([2, 4])[self.rank], mine), "sharded")
            self.assert_same(expected["deep"], loaded["deep"])

    @with_comms
    @with_temp_dir
    def test_a_file_is_read_by_one_rank_for_all(self):
        file = f"{self.temp_dir}/file.pt"
        weight, bias = torch.arange(6.0).view(3, 2), torch.tensor([5, 6])
        self._on_first(torch.save, {"model": {"weight": weight, "bias": bias, "unasked": 1}}, file)

        def load(coordinator=0, file=file, **others):
            zeros = {"weight": torch.zeros(3, 2), "bias": torch.zeros(2, dtype=torch.int64), **others}
            state = {"model": {name: self._here(value) for name, value in zeros.items()}}
            try:
                dcp.load(
                    state,
                    storage_reader=format_utils.BroadcastingTorchSaveReader(coordinator_rank=coordinator),
                    planner=format_utils.DynamicMetaLoadPlanner(),
                    checkpoint_id=file,
                )
            except CheckpointException as error:
                return str(error)
            return state["model"]

        loaded = load()
        refused = [
            ("Non-tensor value identified at model.step", load(step=3)),
            ("in set_up_storage_reader", load(coordinator=1)),
            ("in set_up_storage_reader", load(file=None)),
        ]
        with agreed_between_ranks():
            self.assert_same({"weight": weight, "bias": bias}, {name: value.cpu() for name, value in loaded.items()})
            for reason, error in refused:
                self.assertIn(reason, error)

    def _here(self, value):
        return value.to(self.device_type) if isinstance(value, torch.Tensor) else value

    @with_comms
    @with_temp_dir
    def test_only_files_are_read_by_one_rank(self):
        self._on_first(torch.save, {}, f"{self.temp_dir}/file.pt")
        dist.barrier()
        accepts = format_utils.BroadcastingTorchSaveReader.validate_checkpoint_id
        with agreed_between_ranks():
            names = ("file.pt", "", "nowhere.pt")
            self.assertEqual([True, False, False], [accepts(f"{self.temp_dir}/{name}") for name in names])


if __name__ == "__main__":
    run_tests()
