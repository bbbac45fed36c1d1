"""Questions of torch's modules to a driver are asked in another process, once; `sample_backend` simulates devices."""

import ast
import importlib
import os
import pickle
from types import SimpleNamespace
from unittest import mock

import torch

from torch_testing_shim._engine import driver
from torch_testing_shim._engine.driver import DRIVER
from torch_testing_shim._upstream import driver_questions
from torch_testing_shim._upstream.driver_questions import QUESTIONS, ask, asking, rewritten
from torch_testing_shim._upstream.modules import source_file
from torch_testing_shim._upstream.statements import read_statements, whole_code
from torch_testing_shim.common_utils import TestCase, run_tests

#: Stands for torch's function, in a driver that may not start here: says who was asked.
MODULE = "torch.accelerator"


def device_count():
    return os.getpid()


def is_available():
    return torch.accelerator.device_count()  # which asks in its turn


device_count.__module__ = is_available.__module__ = MODULE


class Asked(TestCase):
    def setUp(self):
        super().setUp()
        for patch in (
            mock.patch.object(driver_questions, "accelerator_type", lambda: "quartz"),
            mock.patch.multiple(DRIVER, may_start=False, _answers={}),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def test_in_another_process_and_once(self):
        with mock.patch.object(torch.accelerator, "device_count", device_count):
            answers = {ask("torch.accelerator.device_count") for _ in range(2)}
        self.assertEqual(1, len(answers))
        self.assertNotIn(os.getpid(), answers)

    def test_a_new_interpreter_can_be_asked_while_others_ask(self):
        with mock.patch.object(torch.accelerator, "device_count", device_count):
            with asking():
                order = pickle.dumps(torch.accelerator.device_count)
            self.assertIs(device_count, pickle.loads(order))

    def test_here_where_a_test_has_replaced_the_function(self):
        with mock.patch.object(torch.accelerator, "device_count", lambda *given, **named: (given, named)):
            self.assertEqual(((1,), {"two": 2}), ask("torch.accelerator.device_count", 1, two=2))

    def test_here_where_there_is_no_accelerator(self):
        with (
            mock.patch.object(torch.accelerator, "device_count", device_count),
            mock.patch.object(driver_questions, "accelerator_type", lambda: None),
            asking(),
        ):
            self.assertEqual(os.getpid(), ask("torch.accelerator.device_count"))
            self.assertIs(device_count, torch.accelerator.device_count)

    def test_what_torch_asks_meanwhile(self):
        with mock.patch.multiple(torch.accelerator, device_count=device_count, is_available=is_available):
            with asking(), asking():
                answers = {torch.accelerator.device_count(), torch.accelerator.is_available()}
            self.assertIs(device_count, torch.accelerator.device_count)
        self.assertNotIn(os.getpid(), answers)

    def test_a_new_interpreter_is_asked_where_threads_run(self):
        with asking(), mock.patch.object(driver, "lasting_thread_count", lambda: 2):
            answer = torch.accelerator.is_available()
        self.assertEqual(torch.accelerator.is_available(), answer)

    def test_properties_come_as_plain_values(self):
        properties = SimpleNamespace(name="quartz", total_memory=5, uuid=object(), _hidden=1)
        module = SimpleNamespace(get_device_properties=lambda index: properties)
        with mock.patch.object(torch, "get_device_module", lambda name: module):
            found = driver_questions._properties("torch.cuda.get_device_properties", 0)
        self.assertEqual({"name": "quartz", "total_memory": 5}, vars(found))


class Rewritten(TestCase):
    def test_only_questions(self):
        for source in ("torch.cuda.synchronize()", "device_count()", "torch.cuda.is_available", "f(1)()"):
            tree = ast.parse(source, mode="eval").body
            self.assertIs(tree, rewritten(tree) if isinstance(tree, ast.Call) else tree, source)

    def test_code_of_modules_and_statements(self):
        source = "found = lambda: torch.accelerator.device_count()\ntold = torch.cuda.get_device_name(f(), index=1)"
        with mock.patch.object(driver_questions, "ask", lambda path, *given, **named: (path, given, named)):
            whole = {"f": lambda: 3}
            exec(whole_code(source, "x.py"), whole)
            self.assertEqual(("torch.cuda.get_device_name", (3,), {"index": 1}), whole["told"])
            self.assertEqual(("torch.accelerator.device_count", (), {}), whole["found"]())
        self.assertEqual([("found",), ("told",)], [each.binds for each in read_statements(source, "x.py")])
        self.assertNotIn("torch", read_statements(source, "x.py")[0].uses)

    def test_each_question_is_torchs(self):
        """A name that torch does not have would never be asked, and nobody would see it."""
        for path in QUESTIONS - {"numba.cuda.is_available"}:
            module, _, name = path.rpartition(".")
            self.assertTrue(callable(getattr(importlib.import_module(module), name)), path)

    def test_torchs_table_of_operators_asks_so(self):
        text = source_file("common_cuda").read_text()
        self.assertIn("torch.cuda.get_device_capability", text)  # or else this test shows nothing
        code = [each.code for each in read_statements(text, "x.py") if "SM53OrLater" in each.binds]
        self.assertIn(b"driver_questions", code[0])


if __name__ == "__main__":
    run_tests()
