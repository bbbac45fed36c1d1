"""Processes that a launcher (torchrun) has started, on one machine or several, as the ranks of every test.

    world           the joined world: its members, and the test that runs
    bounded_store   the launcher's store; each call of it ends in time
    exchange        questions that all ranks answer through the store
    arrival         how the processes find each other, also after a restart
    meeting         the file that process groups meet in, which stands for a part of the store
    ending          the outcomes of all ranks; the end of a run whose ranks cannot go on
    watch           ends a test that cannot end by itself; sees neighbours die
    surroundings    the surroundings of a body
    remains         what a rank leaves for its neighbours to tell once it has died
    own_body        the body of a test in this process
    coming          how the processes come to the body of a test
    joined_ranks    the ranks of one test: this process is one of them
    joined_persistent_ranks    the same for a class that keeps its ranks
    launched_ranks  which ranks a test gets: these, or new processes

Nothing is forked. Each process runs the same tests in the same order; for each test

    setUp  >  "ready" of all  >  the body, on the first N  >  outcome of each  >  verdict(), alike at all  >  tearDown
                |                                                  |
                `--------------------- the launcher's store -------'

A process whose test cannot end by itself tells what it knows, and ends: nobody can end a collective's C++ in it.
"""
