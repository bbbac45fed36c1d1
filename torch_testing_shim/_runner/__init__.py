"""The runner behind `run_test.py`: many test files, one child process each. It never imports torch.

    main          the table of contents: options, choose, list / dry run / run, exit status
    arguments     command line -> `Options`; argparse's namespace goes no further
    argument_types  what single arguments may be
    options       what the user asked for: one frozen `Options`
    upstream_options  upstream's options that mean nothing here: accepted and noted
    discovery     which files under test/ are test files
    completion    answers the shell that completes a command line
    choice        from the options to the files that run, in their order
    request       what the user types to name files and tests; test_names: names with anything in them (pure)
    selection     requests -> `FileSelection`s (pure)
    order         which of them come first, and where they begin and end (pure)
    times         how long files and tests took: the times file's format, and the merge of several (pure)
    times_file    the times file on the disk
    sharding      the part of the selection that this shard takes, by recorded times (pure)
    command       a `FileSelection` -> the command line that runs it (pure)
    run           one run with its reports, and what is kept of it for the next
    schedule      which process runs when, and when the run stops: one loop over all that run
    start_rules   which processes may not start any more
    slots         what files that run at the same time share: rank slots and accelerators
    file_facts    what the schedule has to know of a file, read off its source
    expected      what earlier runs tell of files
    file_life     one file from its first process to its result
    retry         what runs next of a file once a process has ended: the rest, or a test again (pure)
    split         a large file in parts (pure)
    scratch       the folder of one run
    file_process  one command in a child process, watched from its start to the end of all that it left
    early_end     how that process is ended before it ends by itself
    environment   what it starts with
    start         how a process starts: forked from a warm interpreter, or as a new one
    warm          the handle on the warm interpreter (see `torch_testing_shim._warm`)
    child_process a child that is waited for
    child_setup   what runs in the child between fork and exec
    output_file   what a file prints, kept small
    process_tree  which processes a test file has started, and how they are ended
    stop          Ctrl-C, SIGTERM, SIGHUP -> a request to stop
    fold          journals and ends of processes -> `FileResult` (pure)
    rerun_line    the command that a failure ends with
    result        `FileResult`, `RunSummary`, and the exit status that follows (pure)
    history       what a tree remembers of earlier runs
    expectations  which tests are expected not to pass (see `expectations/__init__`)
    failed_tests  which tests failed, as lines that the command line takes (pure)
    failed_files  where these are kept between runs
    coverage_run  test files under coverage.py, and one report about all of them
    whole_file    text files that are written as a whole or not at all
    upstream_files  PyTorch's own test files in place of those under test/
    usage_error   the error that wrong usage ends in
    merge_command the command that merges the reports of several machines
    merge_reports their runs as one: what is missing, and the one verdict (pure but for the reading)
    report        what people and CI read, with a map of its own

The processes, and what flows between them:

    run_test.py                                 python test/x.py
    +----------------------+    argv, env       +---------------------------+
    | schedule             | -----------------> | run_tests > unittest      |
    |   file_process       |    output (file)   |   the test's ranks        |
    |     stop, process_   | <----------------- |   (below the same session)|
    |     tree             |    journal (file)  |                           |
    |                      | <----------------- |                           |
    |                      |    signals         |                           |
    |                      | -----------------> |                           |
    +----------------------+                    +---------------------------+
       | FileEnding + JournalContents, of each process
       v
    fold > FileResult > report > RunSummary > exit status

Output and journal are files in a private folder, not pipes: they stay readable whatever happens to the child, and
nothing that the child leaves running can block the runner by holding a pipe open.
"""
