"""What `common_fsdp` is made of.

    init_modes         how a test model is wrapped, and when it goes to its device
    fsdp_device        the device that FSDP tests run on, and what FSDP has to be told of it
    transformer_model  the interface of the test models; a transformer with a shared weight
    nested_models      models of linear layers, some of them units of their own
    experts            a model with parameters that each rank has for itself
    delays             waiting on the device in use
    delayed_models     models that wait at one point of a step
    small_models       perceptrons and other models of a few layers
    model_states       parameters and state dicts: read, cleared, sent, compared
    patches            torch's functions, replaced on all ranks for a while
    training           a few steps of training, checked on the way
    parity             FSDP's training held against a reference's
    case_mixin         what FSDP's test cases have in common
    compiled           a test run once as it is and once compiled

They import torch's FSDP, so nothing but that face imports them.
"""
