"""`python -m torch_testing_shim FILE [ARGUMENT ...]`: see `torch_testing_shim._upstream.program`."""

from torch_testing_shim._upstream.program import become_file

exec(become_file(globals()))
