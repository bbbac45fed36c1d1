"""What multiprocessing's spawn runs for the main module of `python -m torch_testing_shim FILE`: the file once more.

It runs no main module that is called `__main__`, so `upstream_file` gives it this one.
"""

from torch_testing_shim._program.upstream_file import become_file

if __name__ == "__mp_main__":
    exec(become_file(globals()))
