"""The runner behind `run_test.py`: many test files, one child process each. It never imports torch.

    main          the table of contents: options, choose, list / dry run / run, exit status
    arguments     command line -> `Options`; argparse's namespace goes no further
    options       what the user asked for: one frozen `Options`
    upstream_options  upstream's options that mean nothing here: accepted and noted
    discovery     which files under test/ are test files
    completion    answers the shell that completes a command line
    choice        from the options to the files that run, in their order
    request       what the user types to name files and tests (pure)
    selection     requests -> `FileSelection`s (pure)
    order         which of them come first, and where they begin and end (pure)
    times         how long files and tests took: the times file's format, and the merge of several (pure)
    times_file    the times file on the disk
    sharding      the part of the selection that this shard takes, by recorded times (pure)
    command       a `FileSelection` -> the command line that runs it (pure)
    run           one run with its reports, and what is kept of it for the next
    schedule      runs the commands one after the other; decides when to stop
    file_process  runs one command in a child process and watches it
    child_setup   what runs in the child between fork and exec
    process_tree  which processes a test file has started, and how they are ended
    stop          Ctrl-C and SIGTERM -> a request to stop
    fold          journal and end of the process -> `FileResult` (pure)
    result        `FileResult`, `RunSummary`, and the exit status that follows (pure)
    history       what a tree remembers of earlier runs
    expected      what that tells of the files at hand
    failed_tests  which tests failed, as lines that the command line takes (pure)
    failed_files  where these are kept between runs
    coverage_run  test files under coverage.py, and one report about all of them
    whole_file    text files that are written as a whole or not at all
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
       | FileEnding + JournalContents
       v
    fold > FileResult > report > RunSummary > exit status

Output and journal are files in a private folder, not pipes: they stay readable whatever happens to the child, and
nothing that the child leaves running can block the runner by holding a pipe open.
"""
