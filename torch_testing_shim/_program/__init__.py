"""What `python test_x.py` does: names, options, unittest's result, log, interrupts.

child_runs       tests in child processes: `--subprocess` and `--run-parallel`
chosen_tests     which tests a command line names: the tests of a module, their names, and the choice among them
entry            `run_tests`: what `python test_file.py ...` does
file_options     the command line of a test file: upstream's options and unittest's, as one frozen
                 `ProgramOptions`
interrupts       signals that stop a run, in a test file's process: the first one ends the run with a report,
                 the second one at once
junit_file       the JUnit report of a test file: `--save-xml`
log              what a run of a test file keeps of its tests: one entry for each, written to the journal as it
                 comes
log_events       what happened to one test, one thing after the other, and the entry that comes of it
pytest_journal   A plugin of pytest that turns its reports into entries of the log
pytest_run       tests of a file run by pytest: `--use-pytest`
rank_records     what the journal says of the ranks of a test: from the engine's outcomes to the journal's
                 records
run_environment  what a run of a test file puts into the environment: options that child processes, ranks among
                 them, have to know
skipped_tests    tests that this run is told to skip: they are left out before anything of them is set up, and
                 logged as skipped
suite_stop       ends a run before its last test, where a test says that no other can run in this process
unittest_result  unittest's text result that also makes one `JournalEntry` of each test, whatever happened to it
    under_pytest  PyTorch's test files under pytest: the plugin of `python -m torch_testing_shim --pytest`
    upstream_file  `python -m torch_testing_shim FILE [ARGUMENT ...]`: an upstream test file as it is, on this
        harness
    upstream_pytest  `python -m torch_testing_shim --pytest [ARGUMENT ...]`: pytest, with PyTorch's harness served
        from this package
    again  What multiprocessing's spawn runs for the main module of `python -m torch_testing_shim FILE`: the file
        once more
    notes  What is to be told of a test whatever its status: noted on its instance while it runs, and read when it
        has ended
"""
