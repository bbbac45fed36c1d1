"""Stores, ports and repeated attempts: retry_on_connect_failures, create_tcp_store, find_free_port."""

import socket

import torch.distributed as dist
from torch.testing._internal.common_distributed import create_tcp_store, get_timeout, simple_sparse_reduce_tests
from torch.testing._internal.common_utils import (
    ADDRESS_IN_USE,
    CONNECT_TIMEOUT,
    TestCase,
    find_free_port,
    retry_on_connect_failures,
    run_tests,
)


class ConnectionsTest(TestCase):
    attempts = 0

    @retry_on_connect_failures
    def test_second_attempt(self):
        type(self).attempts += 1
        if self.attempts == 1:
            raise RuntimeError(f"the port is taken: {ADDRESS_IN_USE}")

    @retry_on_connect_failures(connect_errors=(CONNECT_TIMEOUT,))
    def test_another_error_is_not_repeated(self):
        raise RuntimeError("nothing about connections")

    def test_store(self):
        store = create_tcp_store(world_size=1, is_master=True)
        store.set("key", "value")
        self.assertEqual(store.get("key"), b"value")
        self.assertIsInstance(store, dist.TCPStore)

    def test_port(self):
        with socket.socket() as server:
            server.bind(("localhost", find_free_port()))

    def test_timeout(self):
        self.assertGreater(get_timeout(self.id()), 0)

    def test_sparse_sums(self):
        for inputs, output in simple_sparse_reduce_tests(0, 1):
            self.assertEqual(sum(tensor.to_dense() for tensor in inputs), sum(o.to_dense() for o in output))


if __name__ == "__main__":
    run_tests()
