"""Every reason not to run a test, decided before a rank starts wherever it can be. Imports the engine, no base class.

by_backend    decorators that skip a test where a device or a process-group backend is missing;
              `common_distributed` has them
by_platform   decorators that skip a test by what the machine and the build of torch can do;
              `common_distributed` has them
by_world      decorators that skip a test by how many ranks or accelerators there are; `common_distributed` has
              them
capabilities  what a device can do, as tests that are made for each device ask:
              `@requires_capabilities(Capability.dtype.fp8)`
conditions    conditions of a test that can be decided without its ranks: whether it is skipped, and whether it
              runs on the CPU
cuda_flags    what the CUDA device can do, asked when a test uses the flag, and without its driver starting in
              this process
flags         what tests ask about the machine, the build of torch and the run: `IS_WINDOWS`, `TEST_CUDA`,
              `IS_CI` and the like
lists         whether a test is to run at all: slow tests, fast tests, and tests that an issue disables
marks         decorators that skip a test, by what the machine, the build or the run is like
needs         whether a test's ranks can have a process-group backend: torch has to know it and be built with
              it, and one that serves accelerators alone needs enough of them
"""
