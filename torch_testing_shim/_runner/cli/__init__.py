"""The command line: arguments in, an exit status out.

main              run_test.py from beginning to end: options, choice of files, a list or a dry run or the run
console           the console script `torch-testing-shim`: `run`, `list` and `merge` in any repository

options           one frozen `Options`: the table of the command line
option_rows       the declaration of one option, and the readers of values
parser            the table as argparse has it, and what stands below it in `--help`
arguments         reads a command line into `Options`
project           the project that a run belongs to, where its test files lie, where its reports go
under_torchrun    rank 0 runs the files, the other processes follow
project_table     the options in a project's pyproject.toml
completion        completes the command line in the user's shell
"""
