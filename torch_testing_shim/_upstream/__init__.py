"""PyTorch's own test files as they are: their imports of `torch.testing._internal` are served from this package.

Serving names:

    redirect            the import finder that serves `torch.testing._internal` from this package
    graft               names that a face lacks: the installed torch's own, built on ours
    class_rest          the same for names that a class of a face lacks
    modules             the same for modules without a face; where torch's sources lie
    statements          a module of torch's harness, split into statements
    rewriting           their code, rewritten to run on this package
    driver_questions    questions of torch's modules to a device's driver go where it may start
    compiled            compiled grafts, kept from run to run
    missing             stand-ins for names that torch lacks too
    surface             which names files import, and whose each is here, without running anything

Devices that are mapped to others (`--map-device cuda=cpu`):

    mapped_devices      puts the answers in place of torch's calls
    device_table        the answer of each call, as people read it
    device_calls        answers of `torch.cuda` and `torch.accelerator`
    simulated_devices   indices, streams, events and properties
    device_objects      answers of tensors, casts and files
    device_modules      modules that torch runs on several devices alone
    attention_shards    attention of DTensors by the CPU's kernel
    device_names        names of devices among arguments, and `torch.device` itself
    type_slots          replaces special methods of types that are written in C
    distributed_calls   changes the arguments of torch.distributed's calls
"""
