"""A rank raises: usual and unusual exceptions, while the others wait for it."""

from __future__ import annotations

import sys
import threading
import time

import torch.distributed as dist

from faults.fault import Ending, ends
from faults.faulty import FOREVER, GUILTY, Faulty
from faults.machine import why_no_exception_group
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase, with_comms

LOST = "ranks 0, 2 lost their connection to rank 1"


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class ExitsWhenShown(Exception):
    def __str__(self):
        sys.exit(0)


class Unpicklable(Exception):
    def __init__(self, first, second):
        super().__init__(first)
        self.cannot_be_pickled = lambda: second


class Raised(Faulty, DTensorTestBase):
    def raise_alone(self, error: BaseException) -> None:
        self.meet()
        if self.is_guilty:
            self.strike()
            raise error
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$", LOST, "in raise_alone")
    @with_comms
    def test_exception(self):
        """Raises ValueError."""
        self.raise_alone(ValueError("boom"))

    @ends(Ending.FAILED, r"rank 1 failed: AssertionError: .*\d", LOST)
    @with_comms
    def test_assertion(self):
        """An assertion does not hold."""
        self.meet()
        if self.is_guilty:
            self.strike()
        self.assertNotEqual(self.rank, GUILTY)
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$", "ranks 0, 2 still ran and had to be stopped")
    @with_comms
    def test_exception_while_others_are_busy(self):
        """Raises, while the others compute and notice nothing."""
        self.meet()
        if self.is_guilty:
            self.strike()
            raise ValueError("boom")
        while True:
            pass

    @ends(Ending.ERROR, "rank 1 errored: Unpicklable: first$", LOST)
    @with_comms
    def test_cannot_be_pickled(self):
        """Raises an exception that holds a function."""
        self.raise_alone(Unpicklable("first", 2))

    @ends(
        Ending.ERROR,
        "rank 1 errored: Unprintable: <(exception str\\(\\) failed|unprintable Unprintable object)>$",
        LOST,
    )
    @with_comms
    def test_str_raises(self):
        """Raises an exception whose __str__ and __repr__ raise."""
        self.raise_alone(Unprintable("boom"))

    @ends(Ending.ERROR, "rank 1 errored: ExitsWhenShown", LOST)
    @with_comms
    def test_str_exits(self):
        """Raises an exception whose __str__ ends the process."""
        self.raise_alone(ExitsWhenShown("boom"))

    @ends(Ending.ERROR, "rank 1 errored: SyntaxError: ", LOST)
    @with_comms
    def test_syntax_error(self):
        """Compiles what is no Python."""
        self.meet()
        if self.is_guilty:
            self.strike()
            exec("def :")
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ModuleNotFoundError: No module named 'no_such_module'$", LOST)
    @with_comms
    def test_import_error(self):
        """Imports what is not there."""
        self.meet()
        if self.is_guilty:
            self.strike()
            __import__("no_such_module")
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: RecursionError: ", LOST, "repeated .* more times")
    @with_comms
    def test_recursion_error(self):
        """Calls itself without end."""
        self.meet()
        if self.is_guilty:
            self.strike()
            self.call_itself()
        dist.barrier()

    def call_itself(self):
        self.call_itself()

    @ends(
        Ending.ERROR,
        r"rank 1 errored: ExceptionGroup: several \(2 sub-exceptions\)$",
        *(LOST, "ValueError: one"),
        needs=why_no_exception_group,
    )
    @with_comms
    def test_exception_group(self):
        """Raises an exception group."""
        self.raise_alone(ExceptionGroup("several", [ValueError("one"), KeyError("two")]))  # noqa: F821 - from 3.11 on

    @ends(Ending.ERROR, "rank 1 errored: KeyboardInterrupt$", LOST)
    @with_comms
    def test_keyboard_interrupt(self):
        """Raises KeyboardInterrupt."""
        self.raise_alone(KeyboardInterrupt())

    @ends(Ending.ERROR, "rank 1 errored: GeneratorExit: boom$", LOST)
    @with_comms
    def test_base_exception(self):
        """Raises what is no Exception."""
        self.raise_alone(GeneratorExit("boom"))

    @ends(Ending.ERROR, "rank 1 errored: MemoryError$", LOST)
    @with_comms
    def test_memory_error(self):
        """Asks for more memory than there are addresses."""
        self.meet()
        if self.is_guilty:
            self.strike()
            bytearray(1 << 60)
        dist.barrier()

    @ends(Ending.ERROR, "rank 1 errored: ValueError: caf\u00e9 \ud800 ", LOST)
    @with_comms
    def test_text_that_is_no_unicode(self):
        """Raises with a lone surrogate and a null in its text."""
        self.raise_alone(ValueError("caf\u00e9 \ud800 \0"))

    @ends(Ending.ERROR, "rank 1 errored: ValueError: x{100,2000}", LOST, "characters left out")
    @with_comms
    def test_text_of_5_MB(self):
        """Raises with a text of 5 MB in one line."""
        self.raise_alone(ValueError("x" * 5_000_000))

    @ends(Ending.ERROR, "rank 1 errored: ValueError: the second line$", LOST)
    @with_comms
    def test_text_that_begins_with_an_empty_line(self):
        """Raises with a text whose first line is empty."""
        self.raise_alone(ValueError("\n\nthe second line\nthe third"))

    @ends(Ending.ERROR, "rank 1 errored: KeyError: 'second'$", LOST, "ValueError: first")
    @with_comms
    def test_cyclic_chain(self):
        """Raises an exception that is its own cause's cause."""
        first, second = ValueError("first"), KeyError("second")
        first.__cause__, second.__cause__ = second, first
        self.raise_alone(second)


class Several(Faulty, DTensorTestBase):
    @ends(Ending.ERROR, "rank [012] errored: ValueError: everywhere$", "ranks 0-2:\nTraceback")
    @with_comms
    def test_all_ranks_raise_the_same(self):
        """All ranks raise the same."""
        self.meet()
        self.strike()
        raise ValueError("everywhere")

    @ends(Ending.ERROR, "rank 1 errored: ValueError: first$", "rank 0, too:\n(.*\n)+KeyError: 'second'")
    def test_the_earliest_leads(self):
        """Rank 1 raises, and rank 0 something else a little later."""
        if self.is_guilty:
            self.strike()
            raise ValueError("first")
        if self.rank == 0:
            time.sleep(0.4)
            raise KeyError("second")

    @ends(Ending.FAILED, "rank 1 failed: AssertionError: first$")
    @with_comms
    def test_peers_wrap_their_error(self):
        """Rank 1 fails; the others catch what the collective raises and raise an error of their own."""
        self.meet()
        if self.is_guilty:
            self.strike()
            self.fail("first")
        try:
            dist.barrier()
        except RuntimeError:
            raise ValueError("the save has failed")  # noqa: B904 - as people write it

    @ends(Ending.ERROR, "rank 1 errored: ValueError: boom$")
    def test_exception_and_a_cleanup_without_end(self):
        """Raises, and a cleanup never returns: a double fault."""
        if self.is_guilty:
            self.addCleanup(time.sleep, FOREVER)
            self.strike()
            raise ValueError("boom")

    @ends(Ending.ERROR, "rank 1 errored: ValueError: first$", "KeyError: 'second'")
    @with_comms
    def test_exception_and_another_in_a_cleanup(self):
        """Raises, and a cleanup raises, too."""
        self.meet()
        if self.is_guilty:
            self.addCleanup({}.pop, "second")
            self.strike()
            raise ValueError("first")
        dist.barrier()

    @ends(Ending.ERROR, "rank [012] errored: ValueError: boom$")
    def test_exception_and_a_skip_in_a_cleanup(self):
        """All ranks raise, and a cleanup skips."""
        self.addCleanup(self.skipTest, "too late")
        self.strike()
        raise ValueError("boom")

    @ends(Ending.PASSED)
    @with_comms
    def test_exception_in_a_thread(self):
        """A thread raises, which Python prints and nobody else hears of."""
        self.meet()
        if self.is_guilty:
            self.strike()
            thread = threading.Thread(target={}.pop, args=("nobody waits for it",))
            thread.start()
            thread.join()
        dist.barrier()
