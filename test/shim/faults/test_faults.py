"""Faults that tests inject, in one process: what is refused, what is counted, what never fired, and that nothing stays
replaced.
"""

import contextlib
import io
import os
import sys
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

import torch
from hypothesis import strategies as st
from torch.distributed.checkpoint import SavePlanner
from torch.distributed.checkpoint.api import CheckpointException

from torch_testing_shim.common_utils import TestCase, run_tests
from torch_testing_shim.distributed.agreement import PeerFailedError
from torch_testing_shim.faults import (
    FaultNeverFiredError,
    InjectedFaultError,
    call,
    collective,
    delay,
    exit_with,
    fail,
    hang,
    inject,
    kill,
    read,
    transfer,
    write,
)
from torch_testing_shim.faults._points import ordinal
from torch_testing_shim.faults._watching import COLLECTIVES, TRANSFERS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from properties import given

#: Operators of `c10d` and `_c10d_functional` that communicate nothing by themselves.
NO_COMMUNICATION = frozenset(
    {"wait_tensor", "wait_tensors", "check_for_nan", "_wrap_tensor_autograd", "mesh_get_process_group"}
)


class Writer:
    """A class as libraries have them: a base, versions below it, one that calls its base's."""

    def write(self):
        return "base"

    @staticmethod
    def plain():
        """No instance calls it."""


class Below(Writer):
    def write(self):
        return f"below {super().write()}"


class FarBelow(Below):
    def write(self):
        return f"far {super().write()}"


class Inherits(Writer):
    pass


def replaced():
    """The functions that faults replace, as they are now."""
    own = [vars(cls).get("write") for cls in (Writer, Below, FarBelow, Inherits)]
    return [*own, os.getpid, threading.Thread.start, SavePlanner.resolve_data, torch._C._len_torch_dispatch_stack()]


class Descriptions(TestCase):
    def test_they_are_told_as_sentences(self):
        faults = [
            kill(rank=2, at=collective(5)),
            exit_with(3, rank=1, at=transfer(2, "send")),
            fail(rank=0, at=write(2)),
            fail(rank=0, at=read(3), error=OSError("disk full")),
            hang(rank=1, at=call(os, "fsync")),
            delay(3.0, rank=1, at=call(Writer, "write", 11, after=True)),
            delay(0.5, rank=1, at=collective(1, "all_gather")),
        ]
        self.assertExpectedInline(
            "\n".join(map(str, faults)),
            """\
kill rank 2 at its 5th collective
end rank 1 with exit code 3 at its 2nd send
fail rank 0 at its 2nd write
fail rank 0 with OSError('disk full') at its 3rd read
hang rank 1 at its 1st os.fsync()
delay rank 1 by 3 s at the end of its 11th Writer.write()
delay rank 1 by 0.5 s at its 1st all_gather""",
        )

    def test_what_can_be_no_fault_is_refused(self):
        at = collective()
        refused = {
            "nth must be a positive int, not 0": lambda: collective(0),
            "nth must be a positive int, not 1.5": lambda: write(1.5),
            "rank must be an int from 0, not -1": lambda: kill(rank=-1, at=at),
            "an exit code is an int from 0 to 255, not 256": lambda: exit_with(256, rank=0, at=at),
            "a delay is a number of seconds from 0, not nan": lambda: delay(float("nan"), rank=0, at=at),
            "os has no function 'fsink'": lambda: call(os, "fsink"),
            "Writer.plain is no method of instances": lambda: call(Writer, "plain"),
        }
        for message, make in refused.items():
            with self.assertRaisesRegex(ValueError, message):
                make()

    @given(st.integers(1, 10_000))
    def test_ordinals(self, number):
        text = ordinal(number)
        self.assertEqual(str(number), text[:-2])
        endings = {1: "st", 2: "nd", 3: "rd"}
        expected = "th" if number // 10 % 10 == 1 else endings.get(number % 10, "th")
        self.assertEqual(expected, text[-2:])

    def test_every_operator_that_communicates_has_a_name(self):
        """A new torch may have new ones: they have to be sorted by hand."""
        names = {schema.name for schema in torch._C._jit_get_all_schemas()}
        wanted = [name for name in names if name.startswith(("c10d::", "_c10d_functional::", "_dtensor::"))]
        self.assertGreater(len(wanted), 30)
        plain = {name.partition("::")[2].removesuffix("_").removesuffix("_out") for name in wanted}
        self.assertEqual(set(), plain - COLLECTIVES.keys() - TRANSFERS.keys() - NO_COMMUNICATION)


class OneProcess(TestCase):
    """It says which rank it is; there is no process group. What struck faults say of themselves goes to `self.told`."""

    def setUp(self):
        super().setUp()
        self.told = io.StringIO()
        quiet = contextlib.redirect_stderr(self.told)
        quiet.__enter__()
        self.addCleanup(quiet.__exit__, None, None, None)


class Calls(OneProcess):
    def setUp(self):
        super().setUp()
        before = replaced()
        self.addCleanup(lambda: self.assertEqual(before, replaced()))

    def struck(self, at, steps):
        """How many of the steps were done before the fault struck, one of them."""
        done = 0
        with self.assertRaises(InjectedFaultError), inject(fail(rank=0, at=at), rank=0):
            for step in steps:
                step()
                done += 1
        return done

    def test_each_version_counts_once_whatever_it_calls(self):
        steps = [lambda cls=cls: cls().write() for cls in (FarBelow, Below, Inherits, Writer)]
        for nth in range(1, 5):
            self.assertEqual(nth - 1, self.struck(call(Writer, "write", nth), steps))

    def test_only_the_class_and_what_is_below_it(self):
        steps = [lambda: Writer().write(), lambda: Inherits().write(), lambda: FarBelow().write()]
        self.assertEqual(2, self.struck(call(Below, "write"), steps))
        self.assertEqual(1, self.struck(call(Inherits, "write"), steps))

    def test_an_inherited_version_does_what_it_did(self):
        with inject(delay(0, rank=0, at=call(Inherits, "write")), rank=0):
            self.assertEqual("base", Inherits().write())

    def test_before_and_after(self):
        called = []
        with mock.patch.object(Writer, "write", lambda writer: called.append(writer)):
            self.struck(call(Writer, "write"), [lambda: Writer().write()])
            self.assertEqual(0, len(called))
            self.struck(call(Writer, "write", after=True), [lambda: Writer().write()])
            self.assertEqual(1, len(called))

    def test_a_function_of_a_module(self):
        steps = [lambda: os.getpid(), lambda: os.getppid(), lambda: os.getpid()]
        self.assertEqual(2, self.struck(call(os, "getpid", 2), steps))

    def test_a_class_written_in_c(self):
        block = inject(kill(rank=0, at=call(str, "upper")), rank=0)
        with self.assertRaisesRegex(ValueError, "calls of str.upper cannot be counted"), block:
            self.fail("the block is not entered")

    def test_a_fault_strikes_once_and_others_are_counted_all_the_same(self):
        first, second = OSError("first"), OSError("second")
        raised = []
        faults = [
            fail(rank=0, at=call(Writer, "write", 1), error=first),
            fail(rank=0, at=call(Writer, "write", 2), error=second),
            fail(rank=1, at=call(Writer, "write", 1)),
        ]
        with inject(*faults, rank=0):
            for _ in range(4):
                try:
                    Writer().write()
                    raised.append(None)
                except OSError as error:
                    raised.append(error)
        self.assertEqual([first, second, None, None], raised)
        self.assertExpectedInline(
            self.told.getvalue(),
            """\
injected fault: fail rank 0 with OSError('first') at its 1st Writer.write()
injected fault: fail rank 0 with OSError('second') at its 2nd Writer.write()
""",
        )

    def test_the_first_of_several_at_one_point_is_first(self):
        at = call(Writer, "write", 2)
        began = time.monotonic()
        with self.assertRaises(InjectedFaultError), inject(delay(0.2, rank=0, at=at), fail(rank=0, at=at), rank=0):
            Writer().write()
            Writer().write()
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_calls_in_other_threads_count(self):
        with inject(delay(0, rank=0, at=call(Writer, "write", 3)), rank=0):
            threads = [threading.Thread(target=lambda: Writer().write()) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


class NeverFired(OneProcess):
    AT = call(Writer, "write", 3)

    def test_it_is_an_error_in_its_rank_and_says_what_there_was(self):
        for rank, raises in ((0, False), (1, True)):
            block = inject(kill(rank=1, at=self.AT), rank=rank)
            if not raises:
                with block:
                    pass
                continue
            with self.assertRaises(FaultNeverFiredError) as caught, block:
                Writer().write()
            self.assertExpectedInline(
                str(caught.exception),
                """never fired: kill rank 1 at its 3rd Writer.write(); of these there were 1""",
            )

    def test_asked_otherwise(self):
        with inject(kill(rank=0, at=self.AT), rank=0, must_fire=False):
            Writer().write()

    def test_an_error_that_ended_the_block_is_its_cause(self):
        for error in (ValueError("mine"), CheckpointException("mine", {})):  # the second is no Exception
            with self.assertRaises(FaultNeverFiredError) as caught, inject(kill(rank=0, at=self.AT), rank=0):
                raise error
            self.assertIs(error, caught.exception.__cause__)

    def test_what_ends_the_block_without_being_about_it_goes_through(self):
        lost = RuntimeError("Connection closed by peer [127.0.0.1]:4242")
        for error in (unittest.SkipTest("not here"), SystemExit(3), PeerFailedError("rank 1 failed: x"), lost):
            with self.assertRaises(type(error)) as caught, inject(kill(rank=0, at=self.AT), rank=0):
                raise error
            self.assertIs(error, caught.exception)

    def test_which_rank_this_is(self):
        fault = fail(rank=3, at=call(Writer, "write"))
        with mock.patch.dict(os.environ, {"RANK": "3"}), self.assertRaises(InjectedFaultError), inject(fault):
            Writer().write()
        with mock.patch.dict(os.environ), self.assertRaisesRegex(ValueError, r"pass rank=self\.rank"):
            os.environ.pop("RANK", None)
            with inject(fault):
                self.fail("the block is not entered")
        with self.assertRaisesRegex(ValueError, "rank -1 is no rank of a test"), inject(fault, rank=-1):
            self.fail("the block is not entered")


if __name__ == "__main__":
    run_tests()
