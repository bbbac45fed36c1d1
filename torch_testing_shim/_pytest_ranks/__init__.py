"""Functions on ranks, as pytest runs them: `@pytest.mark.ranks(4)`.

In the controller, which is pytest's process:

    hooks           pytest's hooks: takes marked tests, sets up what ranks share, writes reports
    marks           the mark `ranks`, read and checked
    rank_item       one marked test: its ranks, their verdict
    shared_fixtures the fixtures that ranks get by fork
    thread_item     a marked test whose ranks are threads
    beside          other plugins: pytest-timeout, --pdb
    summary         pytest's report of a test that ranks have run
    warnings_summary  warnings of ranks in pytest's summary of them
    live_output     ranks' output while they run (`-s`)

In a rank:

    in_rank         runs pytest's protocol for one test
    rank_reports    the rank's outcome, of pytest's reports
    rank_coverage   lines that ranks run, for pytest-cov
    fixtures        `rank`, `world_size`, `device`, `process_group`, `device_mesh`, `shared_tmp_path`, `agreed`
    groups          their process group
    session_copy    pytest's session in a new interpreter, where ranks cannot be forked from pytest's process

Under torchrun, where pytest's process is a rank itself:

    joined_session  pytest's hooks: the processes agree, run the same, and end alike
    joined_item     one marked test: it runs here, on the first ranks; the verdict over all of them

One test:

    controller  setup: fixtures of a wider scope > call: ranks ... verdict > teardown
                                                     |         ^
                zygote, which has the session --fork-'         |
                                                     |         |
    rank        setup: all other fixtures > call > teardown ---'  one RankOutcome
"""
