"""Tests whose ranks are threads of the test process.

multi_threaded  `MultiThreadedTestCase`, and `spawn_threads_and_init_comms` for a single method
thread_world    a world of process groups for each thread, in place of torch.distributed's one
process_group   the process group between them
collectives     what each collective does with the tensors of all ranks
"""
