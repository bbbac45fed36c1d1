"""A harness for PyTorch-style distributed tests, with the names of `torch.testing._internal` at the same paths.

Import the modules; this package itself imports nothing.

    common_utils                          TestCase, run_tests, parametrize, seeds, flags
    common_distributed                    MultiProcessTestCase, skip_if_lt_x_gpu, requires_*
    distributed._tensor.common_dtensor    DTensorTestBase, with_comms
    distributed.checkpoint_utils          with_temp_dir
    distributed.optim_state               compare optimizer states shard by shard, on every device

    _engine     one test, N ranks: processes, deadlines, verdicts
    _runner     many files: what run_test.py does; never imports torch
    _journal    what a test file's process tells the runner
    _settings   the one reader of the environment
"""
