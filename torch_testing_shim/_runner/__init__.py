"""The runner behind `run_test.py`: many test files, one child process each. It never imports torch.

    cli            the command line: options, lists, the merge of reports, exit status
    plan           which files run, in which order and in which parts
    process        test files in processes: started, watched, ended, and folded into results
    warm           the interpreter that they are forked from; the one part that runs where torch is
    history        earlier runs: durations, failures
    expectations   tests that are expected not to pass
    report         reports for people and for CI
    run            one run with its reports; it adds to the history
    result         `FileResult`, `RunSummary`, and the exit status that follows (pure)
    usage_error    the error that wrong usage ends in

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
