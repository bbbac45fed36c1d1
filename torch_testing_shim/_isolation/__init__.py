"""No test changes the next: settings put back, seeds, what is left behind.

driver_descriptors   which new descriptors of this process may belong to an accelerator's driver
gloo_descriptors     which descriptors of this process belong to gloo: an event loop's epoll instance, and what
                     that watches
hypothesis_profiles  hypothesis profiles: how many examples a property-based test tries, here, when debugging,
                     and on CI
leaks                what a test leaves in the test process: known after each test that passed, and told by the
                     test's name
libuv_descriptors    which descriptors of this process belong to libuv: the pipe that its signal handling is
                     locked by
seeds                random number generators: every test starts with the same seed
torch_state          settings of torch that a test changes and that are put back when it ends
"""
