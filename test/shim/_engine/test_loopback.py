"""Ranks listen on the loopback interface alone, in a network where the host name stands for another address."""

import os
import shlex
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import psutil

from torch_testing_shim._engine.loopback import listen_on_loopback, loopback_interface
from torch_testing_shim._shared.journal import TestStatus
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase

#: A network with two interfaces, in which the machine is called by the address of the second.
NETWORK = """
set -e
ip link set lo up
ip link add outside type veth peer name beyond
ip addr add 10.99.0.1/24 dev outside
ip link set outside up
ip link set beyond up
hostname of-outside
printf '127.0.0.1 localhost\\n10.99.0.1 of-outside\\n' > hosts
mount --bind hosts /etc/hosts
"""

SAMPLE = """
import psutil
from torch.distributed import rpc
from torch_testing_shim.common_distributed import MultiProcContinuousTest

class Listening(MultiProcessTestCase):
    world_size = 2
    address = "127.0.0.1"
    changes = {}

    def setUp(self):
        os.environ.update(self.changes)
        for name in self.changes:
            self.addCleanup(os.environ.pop, name)
        super().setUp()
        self._spawn_processes()

    def check(self):
        connections = psutil.Process().net_connections("tcp")
        self.assertIn("LISTEN", {connection.status for connection in connections})
        self.assertEqual({self.address}, {connection.laddr.ip for connection in connections})
        self.assertEqual(self.changes.get("GLOO_SOCKET_IFNAME"), os.environ.get("GLOO_SOCKET_IFNAME"))

    def test_gloo(self):
        dist.init_process_group("gloo", rank=self.rank, world_size=2, init_method=f"file://{self.file_name}")
        dist.barrier()
        self.check()

    def test_tensorpipe(self):
        options = rpc.TensorPipeRpcBackendOptions(init_method=f"file://{self.file_name}")
        rpc.init_rpc(f"worker{self.rank}", rank=self.rank, world_size=2, rpc_backend_options=options)
        self.check()
        rpc.shutdown()

class NamedInterface(Listening):
    address = "10.99.0.1"
    changes = {"GLOO_SOCKET_IFNAME": "outside", "TP_SOCKET_IFNAME": "outside"}

class Launched(Listening):
    address = "10.99.0.1"
    changes = {"RANK": "0", "MASTER_ADDR": "10.99.0.1"}

class ByItself(Listening):
    changes = {"RANK": "0", "MASTER_ADDR": "localhost"}

class Kept(MultiProcContinuousTest):
    world_size = 2
    address = "127.0.0.1"
    changes = {}
    check = Listening.check

    @classmethod
    def backend_str(cls):
        return "gloo"

    def test_gloo(self):
        dist.barrier()
        self.check()
"""


class OtherHostName(SampleTestCase):
    is_cold = True  # they run below another process

    def in_network(self, *command):
        """The command line that runs a command in a network of its own."""
        return ["unshare", "-n", "-u", "-m", "sh", "-c", f"cd {self.folder}\n{NETWORK}{shlex.join(command)}"]

    def test_addresses(self):
        if shutil.which("unshare") is None or shutil.which("ip") is None:
            raise unittest.SkipTest("needs the commands unshare and ip to make a network of its own")
        tried = subprocess.run(self.in_network("true"), capture_output=True, text=True, check=False)
        if tried.returncode:
            raise unittest.SkipTest(f"may not make a network of its own here: {tried.stderr.strip()}")
        command = self.in_network(sys.executable, str(self.write_sample(SAMPLE)))
        run = self.run_command("-c", f"import subprocess, sys; sys.exit(subprocess.call({command!r}))")
        self.assertEqual(0, run.exit_code, run.output)
        self.assertEqual({TestStatus.PASSED}, {entry.status for entry in run.entries.values()})
        self.assertEqual(9, len(run.entries))


class Interface(TestCase):
    def variables(self, environment):
        with mock.patch("os.putenv") as putenv:
            listen_on_loopback(environment)
        return {call.args for call in putenv.call_args_list}

    def test_has_the_loopback_address(self):
        addresses = psutil.net_if_addrs()[loopback_interface()]
        self.assertIn("127.0.0.1", [address.address for address in addresses])

    def test_what_the_user_says_stays(self):
        name = loopback_interface()
        both = {("GLOO_SOCKET_IFNAME", name), ("TP_SOCKET_IFNAME", name)}
        self.assertEqual(both, self.variables({}))
        self.assertEqual({("TP_SOCKET_IFNAME", name)}, self.variables({"GLOO_SOCKET_IFNAME": "eth0"}))
        self.assertEqual(set(), self.variables({"RANK": "0"}))

    def test_none_that_is_up(self):
        self.addCleanup(loopback_interface.cache_clear)
        loopback_interface.cache_clear()
        with mock.patch("socket.if_nameindex", return_value=[]):
            self.assertIsNone(loopback_interface())
            self.assertEqual(set(), self.variables({}))
        loopback_interface.cache_clear()
        with mock.patch("sys.platform", "other"):
            self.assertIsNone(loopback_interface())

    def test_python_does_not_see_the_variable(self):
        listen = "from torch_testing_shim._engine.loopback import listen_on_loopback; listen_on_loopback({})"
        told = "import os, subprocess; print('GLOO_SOCKET_IFNAME' in os.environ, flush=True)"
        program = f"{listen}; {told}; subprocess.run(['printenv', 'GLOO_SOCKET_IFNAME'])"
        environment = {name: value for name, value in os.environ.items() if name != "GLOO_SOCKET_IFNAME"}
        output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment).stdout
        self.assertEqual(f"False\n{loopback_interface()}\n", output)


if __name__ == "__main__":
    run_tests()
