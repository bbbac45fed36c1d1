"""No test changes the next: settings put back, seeds, what is left behind. Imports the engine.

torch_state          settings of torch that are put back when a test ends, and the seed that every test starts with
hypothesis_profiles  how many examples a property-based test tries
leaks                what a test leaves in the test process
library_descriptors  descriptors that gloo, libuv or an accelerator's driver keeps for good; they are not leaks

Between two tests of a reused rank:

rank_reset           puts back what can be put back
body_keeper          the same around a body, where the test process is a rank itself
kept_parts           a part of the state, as it is kept and put back
interpreter_parts    the parts of Python's state
logging_parts        the parts of logging's
process_flags        the flags that Linux keeps of a process
torch_parts          the parts of torch's
compiler_parts       the parts of its compilers'
distributed_parts    the parts of torch.distributed's
left_running         processes and threads that a test has left
fingerprint          compares what is not put back
replaced_attributes  attributes of libraries' modules and classes
replaced_values      which changes of them are a test's
dict_versions        whether a dictionary has been changed, at once
library_functions    what functions of libraries have inside
contents             values of the tests' own modules, and what they hold
recorded_libraries   those attributes as the zygote has them
module_origins       which modules are libraries', and which are tests'
"""
