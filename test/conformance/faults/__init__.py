"""The catalogue of faults: what may go wrong in a distributed test, and what the harness has to make of it.

`fault_table.py` beside this folder runs it and prints the table; `test_fault_catalogue.py` holds it.

    cases         the faults themselves, one module for each theme
    fault         what a fault is, and how a case says what has to become of it
    faulty        what the cases share
    machine       what some cases need of the machine: a memory cgroup, a small disk
    catalogue     all faults, read off the cases
    campaign      runs many faults, in few processes
    observe       one such process: runs faults and writes what became of each
    over_hosts    the same on four ranks over two hosts, by torchrun
    forking_torchrun  torchrun, less the start of interpreters
    roles         what is told of ranks on hosts, in the words of the catalogue (pure)
    surroundings  what a test may leave around it
    untouched     the test that runs after each fault and finds everything in order
    upstream      the same faults through PyTorch's own harness
    judgement     what is wrong with what became of a fault (pure)
    table         the table for people, and as data (pure)

    fault_table > campaign ==tests==> [ observe: fault, untouched, fault, untouched ... ] > ranks
          ^          ^                          |                                            |
          |          '---- one Observation <----'      the time of the fault, as a folder <--'
          '-- judgement > table
"""
