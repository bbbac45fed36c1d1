"""Tests whose ranks are threads of the test process.

multi_threaded        tests whose ranks are threads of the test process: `MultiThreadedTestCase`, and a
                      decorator for a single method
process_group         A process group whose ranks are threads of one process
thread_run            one run of ranks that are threads: their worlds, their store, their process group, their
                      verdict
thread_world          A world of process groups for each thread, in the place of the one that torch.distributed
                      keeps for the process
threaded_collectives  what each collective does with what all ranks have brought, where these are threads: pure
                      functions of tensors
threaded_works        what collectives of threads are told by and return: tensors in words, and works that are
                      done
"""
