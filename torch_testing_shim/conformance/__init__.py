"""A suite of checks that a storage of distributed checkpoints has to pass: writers, readers and planners.

Not upstream's; our own. A storage's author says what writes and what reads, and gets the suite, on ranks that are
processes, on the CPU or on accelerators:

    from torch_testing_shim.common_utils import run_tests
    from torch_testing_shim.conformance import CheckpointConformance

    from my_package import MyReader, MyWriter


    class TestMyStorage(CheckpointConformance):
        def writer(self, path):
            return MyWriter(path)

        def reader(self, path):
            return MyReader(path)


    if __name__ == "__main__":
        run_tests()

Each test is a check, and its rows are what the storage has to do: "round trip of FSDP2: AdamW foreach, 4 -> 2" saves
the state of a training on 4 ranks and loads it on 2. What was loaded is compared bit for bit with a reference that the
checkpoint has not touched. A row that fails is repeated with torch's own `FileSystemWriter`; what fails there too is
reported as torch's own. `known` lists rows that are known to fail: they have to, so that a gap that closes is noticed.

One command does the same without a file: `python -m torch_testing_shim.conformance my_package:MyWriter,MyReader`.

Modules, lowest first:

    _outcomes       how a row ended, as data
    _stage          the ranks of one launch play worlds of several sizes
    _comparison     a rank's part of a state, compared with the slice of an unsharded reference
    _model          the model, its training, the reference
    _optimizers     the table of optimizers
    _strategies     the table of strategies
    _selection      how much of their products a run takes
    _storage        the storage under test, as checks see it
    _checks         checks and their trials
    _round_trips    strategies and optimizers, saved on W1 ranks and loaded on W2
    _states         small states with known bits, spread over ranks
    _values         every kind of value
    _keys           fewer keys, more keys, other names
    _planners       written by one planner, read by another
    _drawn          states that hypothesis draws, in all ranks at once
    _fault_steps    saves that are struck at each of their steps
    _saves          over an old checkpoint, two at once, asynchronous
    _verdict        whether a test's rows are as they should be
    _case           `CheckpointConformance`
    _report         rows as Markdown
    _named_storage  a storage named on the command line, and the test file that is written for it
    _command        the command, which `__main__` calls
"""

from torch_testing_shim.conformance._case import CheckpointConformance
from torch_testing_shim.conformance._selection import DEFAULT, TABLE, THOROUGH, Selection

__all__ = ["DEFAULT", "TABLE", "THOROUGH", "CheckpointConformance", "Selection"]
