"""What `common_fsdp` is made of.

init_modes     how a test model is wrapped, and when it goes to its device
fsdp_device    the device that FSDP tests run on, and what FSDP has to be told of it
test_models    the interface of the test models; a transformer with a shared weight
nested_models  models of linear layers, some of them units of their own
experts        a model with parameters that each rank has for itself
delays         waiting on the device in use; delayed_models: models that do it at one point of a step
small_models   perceptrons and other models of a few layers
model_states   parameters and state dicts: read, cleared, sent, compared
patches        torch's functions, replaced on all ranks for a while
training       a few steps of training, checked on the way
test_mixin     what FSDP tests have whichever way their ranks are started
parity         FSDP's training held against a reference's
compiled       a test run once as it is and once compiled
"""
