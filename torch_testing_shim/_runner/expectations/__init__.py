"""Expectations: what a file of the user's says of tests that do not pass, and what a run makes of it.

    format          what such a file looks like, as `--help` shows it
    expectation     one entry; nothing but the standard library, since a test file's process reads entries too
    test_ids        ids and globs of tests (pure)
    versions        ranges of torch's versions, and the version that is installed
    reading         the text of a file -> `Expectation`s, or what is wrong with it
    choice          which entry applies to a test (pure)
    told            what a test file's process is told: which of its tests to skip
    judgement       what an entry makes of a test's result (pure)
    unmatched       which entries match no test, of those that this run can tell of (pure)
    changes         what `--update-expectations` changes (pure)
    rewriting       a file's text with these changes; comments and order stay (pure)
    named_cause     the first line of a failure, as a regular expression (pure)
    judged_run      the expectations of one run, from the file to the last line of the output
    nothing_expected  what a run asks of its expectations, and the answers where it has none
    arguments       the options of the command line
    import_disabled PyTorch's list of disabled tests -> such a file
    test_classes    which classes test files hold, read off their source

An entry is chosen by the test's id and by `when`; the result is judged in the runner, after the test has run:

    test file's process                          runner
    skips what it is told  <---- told ---------- choice
    device, results  ------- journal ----------> judgement > reports, retries, exit status > unmatched, changes
"""
