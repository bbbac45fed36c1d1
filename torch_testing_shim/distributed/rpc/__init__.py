"""Faces at upstream's paths; see `torch_testing_shim`."""
