"""A harness for PyTorch-style distributed tests, with the names of `torch.testing._internal` at the same paths.

Import the modules; this package itself imports none of them. A module or a name that is not here is the installed
torch's own, built on what is here (see `_upstream.graft`).

Faces, PyTorch's names at PyTorch's paths:

    common_utils                          TestCase, run_tests, parametrize, seeds, flags
    common_distributed                    MultiProcessTestCase, skip_if_lt_x_gpu, requires_*, run_subtests
    distributed._tensor.common_dtensor    DTensorTestBase, with_comms
    distributed.fake_pg                   FakeStore
    distributed._shard.sharded_tensor     ShardedTensorTestBase, with _test_ops_common and _test_st_common
    distributed._shard.test_common        SimpleMegatronLM
    distributed.checkpoint_utils          with_temp_dir
    common_fsdp                           FSDPTest, with CPU ranks where there is no accelerator
    common_device_type                    which devices generic tests are made for
    common_cuda                           TEST_MULTIGPU and its like
    distributed.multi_threaded_pg         the process group of threads, with _threaded_collectives,
                                          _threaded_works, _thread_world

Our own, for tests of what is distributed:

    distributed.agreement                 ranks that answer a check together
    distributed.sharded_comparison        two ShardedTensors, compared where their shards lie
    faults                                a rank is killed, fails, hangs or is late, where a test says so

Our own, for pytest's command line: `pytest -p torch_testing_shim.pytest_plugin`

    pytest_plugin                         --hw-classification

Our own, for packages that bring a device:

    backends                              Backend: what torch cannot answer of it; requires_capability

What the faces delegate to:

    _engine                 one test, N ranks: processes, deadlines, verdicts
    _test_program           run_tests, with _program_options, _test_selection, _keyword_expression, _running_script,
                            _run_environment, _journaling_result, _test_events, _test_log, _child_runs, _junit_report,
                            _pytest_run, _pytest_journal: pytest's reports as entries of the log,
                            _repro, _interrupts: Ctrl-C and the like, _rank_records: what the journal says of ranks
    _assertions             TestCase's assertions, with _comparison, _leaf_comparison, _normalization, _expected_output,
                            _unittest_assertions
    _skip_marks             decorators that skip by machine, build or run; _test_gates: slow and disabled tests
    _rank_placements        where the shards of a test's sharded tensors lie
    _lazy_flag              a flag that is asked when it is used
    _fsdp                   what common_fsdp does otherwise than torch
    _multi_threaded         MultiThreadedTestCase, spawn_threads_and_init_comms, with _threaded_run;
                            _test_limits: world size and timeout
    _continuous             MultiProcContinuousTest, with _kept_for_class
    _multi_process          MultiProcessTestCase; _rank_call: what its ranks run; _hooks: what subclasses override
    _distributed_names      where names of common_distributed are that few tests use: _communication_means,
                            _debug_settings, _distributed_test_base, _dynamo_cases
    _wrapped_method         how a test case puts its way of running before its test method
    _backend_needs          whether a test's ranks can have a process-group backend
    _backend_skips          decorators that skip by device and backend; _world_skips: by ranks and accelerators;
                            _platform_skips: by NCCL, ROCm, libraries; _rank_free: decided before any rank starts
    _capabilities           what a device can do, as tests made for each device ask
    _flags                  TEST_CUDA, IS_CI and the like, asked when a test names them
    _guards, _seeds         torch's settings and generators, put back and seeded for each test
    _suite_stop             ends a run before its last test, where a test says so
    _leaks                  what a test leaves in the test process; _gloo_descriptors: what torch keeps of gloo;
                            _libuv_descriptors: and of libuv; _driver_descriptors: what an accelerator's driver opens
    _skipped_tests          tests that a run is told to skip
    _hardware               what hardware a class of tests is for, and the choice by it
    _test_notes             what is to be told of a test whatever its status
    _subtests               many checks in one set of ranks
    _process_group_end      how a rank that is about to end leaves its process groups
    _torch_versions         what differs between versions of torch
    _hypothesis_profiles, _skips    each does what its name says

What everything shares:

    _settings               the one reader of the environment
    _device_map             which device stands for which: --map-device
    _journal                what a test file's process tells the runner; _journal_reading: and how that is read
    _exit_status            exit codes in words; _interpreter_flags: the options of `python` itself
    _stop_signals           by which a run is stopped
    _standard_streams       stdin, stdout and stderr of a process that was started without
    _stack_request          asks a test file's process where it stands
    _repeated_frames        recursions in tracebacks, folded
    _stamped_folders        temporary folders: made, removed, and by the next run where this one was killed
    _owner                  the stamp that says whose such a folder is, and whether that process lives

    _runner                 many files: what run_test.py does; never imports torch
    _upstream               PyTorch's test files as they are: `python -m torch_testing_shim FILE` (`__main__`)
    _warm                   the interpreter that run_test.py has test files forked from: order, main, source, script
"""

from torch_testing_shim._upstream import modules as _modules

__version__ = "0.1.0"

_modules.install()
__getattr__ = _modules.below(__name__)
