"""Sabotages of torch's distributed checkpoints. Each makes one test of `test/distributed/checkpoint/` fail.

    sabotage           what a sabotage is, and the test cases that run the sabotaged tests
    forked_programs    programs that a sabotaged test starts, forked from a process that has imported torch

Beside it stands one module for each test file, named as the file without its "test_". Its list `SABOTAGES` is all that
is read of it.
"""
