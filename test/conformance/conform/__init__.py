"""The parts of the comparisons with upstream and of the soak.

sample_files      runs a file in PyTorch's style under both harnesses
unittest_record   in the process of such a file: records outcomes of unittest; pytest_record: of pytest
sample_verdicts   what two sets of outcomes say
both_ways         runs files in two ways, compares outcomes
soak_faults       the faults of the soak
soak_verdicts     which verdicts of the soak are wrong
flatness          whether memory and descriptors grow
leftovers         what a run leaves on the machine
"""
