"""Faces at upstream's paths; see `torch_testing_shim`."""

from torch_testing_shim._upstream.modules import below as _below

__getattr__ = _below(__name__)
