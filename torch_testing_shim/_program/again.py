"""The main module that multiprocessing's spawn runs for `python -m torch_testing_shim FILE`: the file once more.

Spawn passes over a main module that is called `__main__`, so `upstream_file` gives it this one.
"""

from torch_testing_shim._program.upstream_file import become_file

if __name__ == "__mp_main__":
    exec(become_file(globals()))
