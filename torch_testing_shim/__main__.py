"""`python -m torch_testing_shim FILE [ARGUMENT ...]`: see `torch_testing_shim._program.upstream_file`."""

from torch_testing_shim._program.upstream_file import become_file

exec(become_file(globals()))
