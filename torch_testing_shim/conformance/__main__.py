"""`python -m torch_testing_shim.conformance my_package:MyWriter,MyReader`: see `_command`."""

from torch_testing_shim.conformance._command import main

if __name__ == "__main__":  # a rank that imports it runs nothing
    raise SystemExit(main(globals()))
