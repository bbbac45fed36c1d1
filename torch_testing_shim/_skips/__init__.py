"""Every reason not to run a test, decided before a rank starts wherever it can be. Imports the engine, no base class.

The mechanism:

    conditions    a condition hangs on a test; base classes ask it before they start a rank
    lists         slow tests, fast tests, and tests that an issue disables

The decorators. A new one goes where its neighbours are, and its name into the face that has it:

    by_machine    the machine, the build of torch, the run: `requires_cuda`, `skipIfRocm`, `slowTest`
    by_ranks      what ranks need: `skip_if_lt_x_gpu`, `requires_gloo`, `requires_world_size`; `missing_backend`

What they ask:

    flags         the machine, the build and the run: `IS_WINDOWS`, `TEST_CUDA`, `IS_CI`
    capabilities  what a device can do: `SM80OrLater`, `requires_capabilities`, multicast memory
"""
