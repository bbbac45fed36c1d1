"""Where a rank stands, read off stacks in faulthandler's form."""

from pathlib import Path

import torch

import torch_testing_shim
from torch_testing_shim._engine.stacks import ENTRY, Frame, Place, main_thread, place_of, stacks_text
from torch_testing_shim.common_utils import TestCase, run_tests

TORCH = Path(torch.__file__).parent
DISTRIBUTED = f"{TORCH}/distributed/distributed_c10d.py"
LOGGER = f"{TORCH}/distributed/c10d_logger.py"
HARNESS = f"{Path(torch_testing_shim.__file__).parent}/_engine/rank_main.py"


def frames(*lines):
    return [Frame(file, number, function) for file, number, function in lines]


class Stacks(TestCase):
    def test_the_main_thread_is_the_last(self):
        text = f"""\
Thread 0x00007f (most recent call first):
  File "/t/worker.py", line 3 in work

Current thread 0x00008f (most recent call first):
  File "{LOGGER}", line 83 in wrapper
  File "/t/test_x.py", line 4 in test_a
"""
        expected = frames((LOGGER, 83, "wrapper"), ("/t/test_x.py", 4, "test_a"))
        self.assertEqual(tuple(expected), main_thread(text))
        self.assertEqual((), main_thread("no stack at all"))

    def test_what_a_crash_writes_below_the_stacks_takes_none_away(self):
        text = """\
Current thread 0x00008f (most recent call first):
  File "/t/test_x.py", line 4 in test_a

Extension modules: numpy._core._multiarray_umath, torch._C (total: 2)
"""
        self.assertEqual(tuple(frames(("/t/test_x.py", 4, "test_a"))), main_thread(text))

    def test_a_call_is_named_as_the_test_calls_it(self):
        stack = frames(
            (DISTRIBUTED, 1, "broadcast"),
            (LOGGER, 2, "wrapper"),
            (DISTRIBUTED, 3, "broadcast_object_list"),
            (LOGGER, 2, "wrapper"),
            ("/t/test_x.py", 39, "test_a"),
            (HARNESS, 5, "_run_job"),
        )
        self.assertEqual(Place("test_x.py:39", "broadcast_object_list", True), place_of(stack))
        self.assertExpectedInline(str(place_of(stack)), """in broadcast_object_list (test_x.py:39)""")

    def test_what_warns_of_an_old_name_is_no_call_of_the_tests(self):
        import typing_extensions

        stack = frames(
            (DISTRIBUTED, 1, "reduce_scatter_single"),
            (DISTRIBUTED, 3, "reduce_scatter_tensor"),
            (typing_extensions.__file__, 3140, "wrapper"),
            (LOGGER, 2, "wrapper"),
            ("/t/test_x.py", 39, "test_a"),
        )
        self.assertEqual(Place("test_x.py:39", "reduce_scatter_tensor", True), place_of(stack))

    def test_a_line_of_the_test_is_named_by_its_function(self):
        stack = frames(("/t/test_x.py", 38, "helper"), ("/t/test_x.py", 50, "test_a"))
        self.assertEqual(Place("test_x.py:38", "helper", False), place_of(stack))

    def test_the_test_may_be_below_the_library_and_not_wait_for_ranks(self):
        import threading

        stack = frames((threading.__file__, 3, "wait"), ("/t/test_x.py", 7, "test_a"))
        self.assertEqual(Place("test_x.py:7", "test_a", False), place_of(stack))

    def test_a_callback_of_the_test_inside_torch_is_not_waiting(self):
        stack = frames(("/t/test_x.py", 9, "hook"), (DISTRIBUTED, 1, "all_reduce"), ("/t/test_x.py", 7, "test_a"))
        self.assertEqual(Place("test_x.py:9", "hook", False), place_of(stack))

    def test_what_lies_below_the_ranks_entry_is_the_controllers(self):
        stack = frames((HARNESS, 9, "_observe"), (HARNESS, 5, ENTRY), ("/t/test_x.py", 70, "<module>"))
        self.assertIsNone(place_of(stack))

    def test_a_collective_that_the_harness_calls_is_named_with_its_line(self):
        face = f"{Path(torch_testing_shim.__file__).parent}/common.py"
        stack = frames(
            (DISTRIBUTED, 1, "barrier"), (face, 8, "destroy_pg"), (HARNESS, 5, ENTRY), ("/t/x.py", 7, "main")
        )
        self.assertEqual(Place("common.py:8", "barrier", True), place_of(stack))

    def test_text_is_as_faulthandler_writes_it(self):
        main, other = frames(("/t/test_x.py", 38, "helper")), frames(("/t/worker.py", 3, "work"))
        self.assertEqual(tuple(main), main_thread(stacks_text([main, other])))
        self.assertExpectedInline(
            stacks_text([main, other]),
            """\
Thread 0x0000000000000001 (most recent call first):
  File "/t/worker.py", line 3 in work

Current thread 0x0000000000000000 (most recent call first):
  File "/t/test_x.py", line 38 in helper
""",
        )

    def test_a_stack_without_a_line_of_the_users(self):
        self.assertIsNone(place_of(frames((HARNESS, 5, "_run_job"))))


if __name__ == "__main__":
    run_tests()
