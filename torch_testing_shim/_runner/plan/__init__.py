"""Which files run, in which order and in which parts.

choice          the choice: from the options to the files that run, in their order
discovery       discovery: which files under the test folder are test files
file_facts      what the schedule has to know of a file before it runs: read off its source once, and never by
                importing it
order           the order of the files that were selected, and where it begins and ends
request         requests: what the user types to name files and tests -> the names of files, and the test
selection       selection: which files run, and which of their tests
sharding        sharding: which part of a selection one of N machines runs
split           A large file in parts that run at the same time
upstream_files  `--upstream PATH ...`: PyTorch's own test files, wherever they lie, in place of those under
                test/
"""
