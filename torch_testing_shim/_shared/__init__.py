"""Shared by the program, the engine and the runner. Standard library only.

Settings:

    settings            the one reader of the environment; the options that set settings
    setting_rows        the table of settings: variable, meaning, reader, default, option
    values              values given as text, in a variable or on a command line
    hardware            `hw_classification` of test classes, and the choice of tests by it
    launch              how torchrun has started a process
    device_map          the device that stands for another in a run: `cuda=cpu`

Names of tests, and the commands that run them:

    node_ids            names of tests, with whatever a parameter has put into them
    keyword_expression  the values of `-k`
    main_part           how a test file runs its tests, read off its source
    python_command      the words between `python` and a test file
    rerun_command       the command that runs a failed test again

What a run leaves:

    journal             one JSON line as each test starts and as it ends
    journal_reading     reads journals, also torn ones and those that are still being written
    atomic_write        files that are written as a whole or not at all
    records             dataclasses from records that nobody has checked
    pytest_report       pytest's report of an exception over ranks
    repeated_frames     folds the frames of a recursion in the text of a traceback
    expectations        the tests that are expected not to pass, and the skip list
    expectation_ids     ids of tests in an expectations file

Processes:

    exit_status         exit codes in words
    stop_signals        the signals by which people and machines stop a run
    stack_request       a signal has a process print the Python stacks of its threads
    last_collection     Python's last collections, when a process ends
    standard_streams    opens the streams that a process was started without
    cores               the number of cores that this process may use
    parent_death        a signal from the kernel when the parent dies
    process_identity    a stamp that names one process for good
    owned_folders       folders that go with the process that made them
    huge_pages          a process's memory, so that forks of it are cheap
"""
