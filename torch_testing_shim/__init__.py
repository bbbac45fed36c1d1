"""A harness for PyTorch-style distributed tests, with the names of `torch.testing._internal` at the same paths.

Import the modules; this package itself imports nothing.

Faces, PyTorch's names at PyTorch's paths:

    common_utils                          TestCase, run_tests, parametrize, seeds, flags
    common_distributed                    MultiProcessTestCase, skip_if_lt_x_gpu, requires_*, run_subtests
    distributed._tensor.common_dtensor    DTensorTestBase, with_comms
    distributed.checkpoint_utils          with_temp_dir
    distributed.fake_pg                   a process group that sends nothing
    distributed.multi_threaded_pg         the process group of threads, with _threaded_collectives,
                                          _thread_world

Our own, for tests of what is distributed:

    distributed.agreement                 ranks that answer a check together
    distributed.sharded_comparison        two ShardedTensors, compared where their shards lie

What the faces delegate to:

    _engine                 one test, N ranks: processes, deadlines, verdicts
    _test_program           run_tests, with _program_options, _test_selection, _running_script, _run_environment,
                            _journaling_result, _test_log, _child_runs, _pytest_run, _junit_report, _repro,
                            _interrupts: Ctrl-C and SIGTERM
    _assertions             TestCase's assertions, with _comparison, _leaf_comparison, _normalization, _expected_output
    _parametrization        parametrize, subtest, instantiate_parametrized_tests
    _skip_marks             decorators that skip by machine, build or run; _test_gates: slow and disabled tests
    _multi_threaded         MultiThreadedTestCase, spawn_threads_and_init_comms; _test_limits: world size and timeout
    _continuous             MultiProcContinuousTest, with _kept_for_class; _test_steps: a test's steps in a rank
    _distributed_names      where names of common_distributed are that few tests use: _backend_features,
                            _communication_means, _debug_settings, _distributed_test_base, _dynamo_cases,
                            _sample_inputs
    _backend_skips          decorators that skip by device and backend; _world_skips: by ranks and accelerators;
                            _platform_skips: by NCCL, ROCm, libraries; _rank_free: decided before any rank starts
    _flags                  TEST_CUDA, IS_CI and the like, asked when a test names them
    _guards, _seeds         torch's settings and generators, put back and seeded for each test
    _leaks                  what a test leaves in the test process
    _dtensor_conversion     operators on DTensors, in every sharding; _subtests: many checks in one set of ranks

    _process_group_end      how a rank that is about to end leaves its process groups
    _device_sleep, _gradient_checks, _hypothesis_profiles, _retries, _skips    each does what its name says

What everything shares:

    _settings               the one reader of the environment
    _journal                what a test file's process tells the runner
    _exit_status            exit codes in words

    _runner                 many files: what run_test.py does; never imports torch
"""
