"""The base classes of tests, and how a test's body runs in ranks. Imports the folders below it, no face.

All test cases:

    base                   `TestCase`: what one test does in the test process
    unittest_assertions    unittest's assertions that upstream changes: `assertLogs`, `assertRaises`

Test cases with ranks:

    body                   `RankTestCase`, which all of them build on; `run_subtests`
    awaited_ranks          `AwaitedRanks`: a test waits for processes that are its ranks, and is judged by them
    multi_process          `MultiProcessTestCase`, built on it: starts them, and runs the test in each
    distributed_test_base  `DistributedTestBase`, which makes its process group by device
    continuous             `MultiProcContinuousTest`: a class's tests share their processes and their process group
    threads                `MultiThreadedTestCase`: ranks are threads of the test process

What these use:

    world                  how many ranks there are, how long they may take, how they leave their process groups
    reused_ranks           which tests have ranks that run test after test
    rank_keeper            what such a rank does after each test
    class_ranks            the ranks that are kept for a class
    hooks                  methods that subclasses override; `RankCall`
    surroundings           small names of `common_distributed`: folders to meet in, debug levels, accelerators by rank

By domain:

    dynamo                 test cases of compiled code
    dtensor                `DTensorTestBase`, its continuous and threaded kinds, `with_comms`
    fsdp                   `FSDPTest` and its kinds, and the device that they run on
    fsdp_compiled          a test of `fully_shard` run as it is and compiled
    sharded_tensors        `ShardedTensorTestBase`, sharding specs, models
"""
