"""The plan of a run: its files, their order and their parts.

tree        where test files lie, and what they are called; PyTorch's own with `--upstream`
request     the words by which a user names files and tests -> names
selection   which files run, in which order, and which of their tests (pure)
sharding    the part of a selection that one of N machines runs, and a large file in parts (pure)
choice      all of these: from the options to the selected files
file_facts  what a file's source tells the schedule: its ranks, whether it imports torch
"""
