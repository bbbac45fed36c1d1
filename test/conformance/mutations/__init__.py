"""The parts of `mutate.py`.

mutation     the mutations of a source, one change each (pure)
copies       copies of the package in which mutations are made, and the test files that run on them
known        the mutations that are known to change no behaviour
"""
