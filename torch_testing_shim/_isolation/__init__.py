"""No test changes the next: settings put back, seeds, what is left behind. Imports the engine.

torch_state          settings of torch that are put back when a test ends, and the seed that every test starts with
hypothesis_profiles  how many examples a property-based test tries
leaks                what a test leaves in the test process
library_descriptors  descriptors that gloo, libuv or an accelerator's driver keeps for good, which are no leaks
"""
