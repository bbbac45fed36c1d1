# Owner(s): ["oncall: distributed"]
"""State is sent between ranks over their process group, as training does that heals a rank from a healthy one.

Each receiver makes the expected values itself, from their names, and compares bit for bit.
"""

import collections
import unittest
from datetime import timedelta

import torch
import torch.distributed as dist
from exact_values import ALL_DTYPES, about, assert_same_bits, bits, exact_values
from torch.distributed._shard.sharded_tensor import Shard as LocalShard, init_from_local_shards
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms
from torch_testing_shim.distributed.agreement import agreed_between_ranks

try:
    from torch.distributed.checkpoint import _pg_transport
except ImportError:
    _pg_transport = None

#: Not the first rank, so that a transport that always took that would be noticed.
SENDER = 2

Pair = collections.namedtuple("Pair", "first second")


@unittest.skipUnless(_pg_transport, "this torch has no torch.distributed.checkpoint._pg_transport")
class PGTransportTest(DTensorTestBase):
    world_size = 4

    @property
    def carrier(self):
        """The device that a transport sends from. Gloo ends the process when it has to send an accelerator's tensor."""
        device = torch.device(self.device_type)
        return torch.device("cpu") if dist.get_backend() == "gloo" else device

    def _transport(self, state=None, group=None):
        """Make a transport; with a state, it receives into that."""
        into = None if state is None else lambda: state
        return _pg_transport.PGTransport(group or dist.group.WORLD, timedelta(seconds=60), self.carrier, into)

    def _send_to_all_others(self, make_state, transport):
        """Send what `make_state` makes; return what arrived, None in the sender."""
        if self.rank != SENDER:
            return transport.recv_checkpoint(SENDER)
        transport.send_checkpoint([rank for rank in range(self.world_size) if rank != SENDER], make_state())
        return None

    def _values(self, name, shape, dtype=torch.float32):
        return exact_values(name, shape, dtype).to(self.device_type)

    def _assert_same_state(self, actual, expected, where="state"):
        """Compare containers by type, keys and order, tensors by bits and strides, anything else by `==`."""
        self.assertIs(type(actual), type(expected), f"{where} is a {type(actual).__name__}")
        if isinstance(expected, dict):
            self.assertEqual(list(actual), list(expected), about(f"keys of {where}"))
            for key, value in expected.items():
                self._assert_same_state(actual[key], value, f"{where}.{key}")
        elif isinstance(expected, list | tuple):
            self.assertEqual(len(actual), len(expected), about(f"length of {where}"))
            for index, value in enumerate(expected):
                self._assert_same_state(actual[index], value, f"{where}.{index}")
        elif isinstance(expected, torch.Tensor):
            assert_same_bits(self, where, actual, expected)
            self.assertEqual(actual.stride(), expected.stride(), about(f"stride of {where}"))
        else:
            self.assertEqual(actual, expected, about(where))

    def _nested_state(self, seed):
        matrix = self._values(f"matrix {seed}", (6, 5))
        return {
            "model": collections.OrderedDict(
                transposed=self._values(f"transposed {seed}", (3, 4)).t(),
                some_columns=matrix[1:, ::2],
                scalar=self._values(f"scalar {seed}", ()),
                empty=torch.empty(0, 3, device=self.device_type),
            ),
            "optimizer": [{"params": [0, 1], "lr": 0.1 * seed, "amsgrad": False, "foreach": None}],
            "both": Pair(
                self._values(f"first {seed}", (7,)), (b"\0bytes", {"deep": [self._values(f"deep {seed}", (1,))]})
            ),
            3: f"step {seed}",
        }

    @with_comms
    def test_nested_state_arrives_with_its_structure(self):
        transport = self._transport()
        for seed in (1, 2):  # a second state over the same transport is not mistaken for the first
            received = self._send_to_all_others(lambda seed=seed: self._nested_state(seed), transport)
            with agreed_between_ranks():
                if self.rank != SENDER:
                    self._assert_same_state(received, self._nested_state(seed))

    @with_comms
    def test_each_dtype_arrives_bit_for_bit(self):
        def make_state():
            return {str(dtype): self._values(str(dtype), (5, 3), dtype) for dtype in ALL_DTYPES}

        received = self._send_to_all_others(make_state, self._transport())
        with agreed_between_ranks():
            if self.rank != SENDER:
                self._assert_same_state(received, make_state())

    @with_comms
    def test_what_has_arrived_can_be_passed_on(self):
        transport, state = self._transport(), None
        if self.rank > 0:
            state = transport.recv_checkpoint(self.rank - 1)
        if self.rank + 1 < self.world_size:
            transport.send_checkpoint([self.rank + 1], state or self._nested_state(1))
        with agreed_between_ranks():
            if self.rank > 0:
                self._assert_same_state(state, self._nested_state(1))

    @with_comms
    def test_ranks_are_those_of_the_group(self):
        last = self.world_size - 1
        group = dist.new_group([1, last])
        transport, received = self._transport(group=group), None
        if self.rank == last:
            transport.send_checkpoint([0], self._nested_state(1))
        elif self.rank == 1:
            received = transport.recv_checkpoint(1)
        with agreed_between_ranks():
            if self.rank == 1:
                self._assert_same_state(received, self._nested_state(1))

    @with_comms
    def test_in_place(self):
        def make_state(owner):
            rows = exact_values(f"rows {owner}", (4, 3)).to(self.carrier)
            return {"rows": rows, "some": [rows.clone()[:, 1:], torch.tensor(owner).to(self.carrier)], "owner": owner}

        mine = make_state(self.rank)
        new = {**make_state(SENDER), "new": exact_values("new", (2,)).to(self.carrier)}
        memory = (mine["rows"].data_ptr(), *(tensor.data_ptr() for tensor in mine["some"]))
        received = self._send_to_all_others(lambda: new, self._transport(mine))
        with agreed_between_ranks():
            if self.rank != SENDER:
                self._assert_same_state(received, new)
                self._assert_same_state(mine["rows"], new["rows"], "own rows")
                self._assert_same_state(mine["some"], new["some"], "own some")
                found = (received["rows"].data_ptr(), *(tensor.data_ptr() for tensor in received["some"]))
                self.assertEqual(memory, found, about("memory of what was received"))

    @with_comms
    def test_in_place_of_another_size_is_refused(self):
        state = {"rows": torch.zeros(4, 3, device=self.carrier)}
        mine = {"rows": torch.full((4, 2), 5.0, device=self.carrier)}
        if self.rank == SENDER:
            self._transport().send_checkpoint([0], state)
        elif self.rank == 0:
            with self.assertRaisesRegex(AssertionError, "must be the same size"):
                self._transport(mine).recv_checkpoint(SENDER)
            # The sender waits until somebody takes the tensor.
            dist.recv(torch.empty(48, dtype=torch.uint8, device=self.carrier), SENDER, tag=3)
        with agreed_between_ranks():
            self.assertEqual(mine["rows"], torch.full((4, 2), 5.0), about("own rows"))

    @with_comms
    @parametrize("placement", [Shard(0), Shard(1), Replicate()])
    def test_dtensor_arrives_as_the_senders_part(self, placement):
        whole = exact_values("whole", (5, 7))
        mesh = self.build_device_mesh()
        sent = distribute_tensor(whole.to(self.device_type), mesh, [placement])
        received = self._send_to_all_others(lambda: {"part": sent}, self._transport())
        expected = whole.chunk(self.world_size, placement.dim)[SENDER] if isinstance(placement, Shard) else whole
        with agreed_between_ranks():
            if self.rank != SENDER:
                part = received["part"]
                self.assertIs(type(part), DTensor)
                assert_same_bits(self, "part", part.to_local(), expected)
                self.assertEqual((part.shape, part.placements), (whole.shape, (placement,)), about("placements"))
                self.assertEqual(part.device_mesh, mesh)

    @with_comms
    def test_one_replica_is_healed_by_the_other(self):
        # a transport receives in place what lies on its own device
        mesh = init_device_mesh(self.carrier.type, (2, self.world_size // 2), mesh_dim_names=("replica", "shard"))
        whole = exact_values("whole", (5, 3))  # the two shards have 3 and 2 rows
        is_healthy = self.rank < self.world_size // 2
        local = distribute_tensor(whole.to(self.carrier), mesh["shard"], [Shard(0)]).to_local()
        held = local.clone() if is_healthy else torch.zeros_like(local)
        mine = {
            "weight": DTensor.from_local(held, mesh["shard"], [Shard(0)], run_check=False, shape=(5, 3), stride=(3, 1))
        }
        other = (self.rank + self.world_size // 2) % self.world_size
        if is_healthy:
            self._transport().send_checkpoint([other], mine)
        else:
            self._transport(mine).recv_checkpoint(other)
        gathered = mine["weight"].full_tensor()
        with agreed_between_ranks():
            assert_same_bits(self, "weight", gathered, whole)

    @unittest.skipUnless(
        hasattr(_pg_transport, "_ShardedTensorMeta"), "this torch's PGTransport knows no ShardedTensor"
    )
    @with_comms
    def test_sharded_tensor_arrives_as_the_senders_shards(self):
        def local(rank):
            return exact_values(f"shard {rank}", (2, 3))

        shard = LocalShard.from_tensor_and_offsets(local(self.rank).to(self.device_type), [2 * self.rank, 0], self.rank)
        sent = init_from_local_shards([shard], 2 * self.world_size, 3)
        received = self._send_to_all_others(lambda: {"sharded": sent}, self._transport())
        with agreed_between_ranks():
            if self.rank != SENDER:
                (arrived,) = received["sharded"].local_shards()
                assert_same_bits(self, "shard", arrived.tensor, local(SENDER))
                self.assertEqual(arrived.metadata.shard_offsets, [2 * SENDER, 0], about("offsets of the shard"))
                self.assertEqual(received["sharded"].size(), torch.Size([2 * self.world_size, 3]))

    @with_comms
    def test_training_goes_on_as_in_the_sender(self):
        def trained(steps):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).to(
                self.device_type
            )
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
            for step in range(steps):
                train(model, optimizer, step)
            return model, optimizer

        def train(model, optimizer, step):
            optimizer.zero_grad()
            model(torch.full((3, 4), 0.5 + step, device=self.device_type)).square().sum().backward()
            optimizer.step()

        def state_of(model, optimizer):
            return {"model": model.state_dict(), "optimizer": optimizer.state_dict()}

        model, optimizer = trained(0)
        received = self._send_to_all_others(lambda: state_of(*trained(2)), self._transport())
        with agreed_between_ranks():
            if self.rank != SENDER:
                model.load_state_dict(received["model"])
                optimizer.load_state_dict(received["optimizer"])
                train(model, optimizer, 2)
                untrained, expected = trained(0)[0].state_dict(), trained(3)[0].state_dict()
                for name, tensor in model.state_dict().items():
                    assert_same_bits(self, name, tensor, expected[name])
                    self.assertTrue(bits(tensor) != bits(untrained[name]), f"{name} was not trained")


instantiate_parametrized_tests(PGTransportTest)
if __name__ == "__main__":
    run_tests()
