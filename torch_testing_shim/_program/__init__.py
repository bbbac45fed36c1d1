"""Run a test file: `python test_x.py`.

    entry             `run_tests`: options, choice of tests, the run, its report, the exit status
    options           the command line as one frozen `ProgramOptions`, and the variables that it sets
    selection         the tests of a module, and those that names, patterns and the skip list choose

How tests run:

    unittest_result   unittest's result, which also logs one entry for each test
    child_runs        `--subprocess` and `--run-parallel`: the same file in child processes
    pytest_journal    `--use-pytest`, and plugins of pytest that turn its reports into entries of the log
    joined_run        the processes that torchrun has started: they agree, run the same, and end alike
    joined_facts      what these have to have in common, and who has what where they differ
    joined_log        their log: tests start and end together
    following         run_test.py under torchrun: processes that start what rank 0 starts
    voice             their streams: one speaks, the others are silent
    ran_before        what they have run, for the ones that torchrun starts anew after a crash
    interrupts        the first signal ends a run with a report, the second one at once

What is kept of them:

    log               one entry for each test, written to the journal as it comes
    notes             notes on a test's instance: lines for its report, records of its ranks
    junit             `--save-xml`

PyTorch's files as they are, by `python -m torch_testing_shim`:

    upstream_file     FILE: one file
    upstream_pytest   --pytest: pytest, and its plugin
    again             the file once more, in a process that multiprocessing spawns
"""
