"""The base classes of tests, and how a test's body runs in a rank. Imports the engine and the parts below it, no face.

base                   `TestCase`, which all test classes of the harness build on: what one test does in the
                       test process
class_ranks            the ranks that are kept for a class, and what the class says of them, be it by a value, a
                       property or a method
surroundings           accelerators for ranks, folders to meet in, debug settings; `common_distributed` has the names
continuous             tests of a class that share their ranks and their process group:
                       `MultiProcContinuousTest`
debug_settings         settings of torch.distributed that a test runs under, and what DDP has logged;
                       `common_distributed` has the names
distributed_test_base  `DistributedTestBase`: a multi-process test case that makes its process group by device
dynamo                 test cases of compiled code on ranks, which start and end with nothing compiled
fsdp_compiled          A test of `fully_shard` run once as it is and once with compiled modules
fsdp_device            the device that FSDP tests run on, and what FSDP has to be told of it
hooks                  methods of upstream's base classes that subclasses put others in place of
lazy_names             names of `common_distributed` that are looked up when a test asks for them: where each
                       is, or how it is answered
limits                 how many ranks a test has, and how long it may take, where it does not say
multi_process          `MultiProcessTestCase`: tests that run in several processes, fresh ones for each test
notes                  what is to be told of a test whatever its status: noted on its instance while it runs,
                       and read when it has ended
placements             where the shards of a test's sharded tensors lie: one on each rank's device, as sharding
                       specs write it
process_group_end      how a rank that is about to end leaves its process groups
rank_call              what each rank is to run, as `_start_processes` has it made: a `RankCall`, or a process
                       object of the class's own
subtests               many configurations of one check in one set of ranks
wrapped_method         how a test case whose body runs in ranks puts its own way of running before the test
                       method that it was made for
    unittest_assertions  The assertions of unittest that upstream's `TestCase` changes: whose logs are read, and
        which exceptions count
"""
