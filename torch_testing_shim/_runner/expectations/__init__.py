"""Expectations: a user's file about tests that do not pass, and its effect on a run.

    reading          the text of a file -> `Expectation`s, or its mistakes; ranges of torch's versions
    judgement        the effect of an entry on a test's result (pure); the interface to a run's expectations
    judged_run       the expectations of one run, from the file to the last line of the output
    unmatched        entries that match no test, of those that this run can tell of (pure)
    changes          the changes that `--update-expectations` makes (pure)
    rewriting        a file's text with these changes; comments and order stay (pure)
    import_disabled  PyTorch's list of disabled tests -> such a file

`_shared.expectations` has the entry, its ids, the look-up and the skip list, which test files' processes read too. An
entry is chosen by the test's id and by `when`; the result is judged in the runner, after the test has run:

    test file's process                                runner
    skips the tests of its list  <---- skip_list ----  lookup
    device, results  -------------- journal -------->  judgement > reports, retries, exit status > unmatched, changes
"""
