"""PyTorch's own test files as they are: their imports of `torch.testing._internal` are served from this package.

redirect    the import finder that serves the modules
graft       names that a face lacks: the installed torch's own, built on ours
modules     the same for modules that this package has no face for; class_rest: for what a class lacks
statements  a module of torch's harness as statements; sources: where it lies; compiled: kept from run to run
dropped_results     what torch's decorators drop of a test's result is checked
driver_questions    what torch's modules ask a device's driver is asked where it may start
missing     what stands in for a name that torch lacks too, until it is used; asking: or whether it may be absent
mapped_devices      what is asked for on one device type is made on another
device_table        what each call answers then, as people read it
device_calls        the answers of `torch.cuda` and `torch.accelerator`; simulated_devices: indices, streams, properties
device_objects      the answers of tensors, casts and files
device_names        names of devices among arguments, and `torch.device` itself; type_slots: how a type of C is changed
distributed_calls   what torch.distributed is told then
surface     which names files import, and whose each is here, without running anything
"""
