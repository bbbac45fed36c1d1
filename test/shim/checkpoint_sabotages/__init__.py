"""Sabotages of torch's distributed checkpoints. Each makes one test of `test/distributed/checkpoint/` fail.

    sabotage    what a sabotage is, and the test cases that run the sabotaged tests

Beside it stands one module for each test file, named as the file without its "test_". Its list `SABOTAGES` is all that
is read of it.
"""
