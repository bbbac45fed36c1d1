"""The parts of `check.py`, which tries on a real accelerator what nothing else can show.

    row          one line of the table: what was tried, what was expected, what was seen
    expected     what a sample's test has to come to, and the row that follows from what it came to (pure)
    table        the rows as text (pure)
    machine      the accelerator, asked in a process of its own
    sample_run   one command, run to its end, and what its journal says
    samples      the checks that run a file of ../samples and hold each of its tests against what is expected
    leases       files that run at the same time share the devices out
    figures      what one more test costs: here, in PyTorch's own harness, and in a bare loop
    suite        the suite's own files that name devices
    plan         all checks, in the order in which they run

    check > plan > [ sample_run ==python samples/x.py==> journal ] > expected > Row > table

This process imports no torch, so that it starts no driver.
"""
