"""The history of earlier runs: durations and failures.

tree_history  the history of a tree: read before a run, brought up to date after it, and its two files
times         how long files and tests took, and on how many ranks (pure)
failed_tests  failed tests as lines that the command line takes, and lists of them that users write and read
"""
