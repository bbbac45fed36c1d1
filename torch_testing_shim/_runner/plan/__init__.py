"""The plan of a run: its files, their order and their parts.

tree        where test files lie, and what they are called; PyTorch's own with `--upstream`
request     the words by which a user names files and tests -> names
selection   which files run, and which of their tests (pure)
order       the order of the selected files, and where it begins and ends (pure)
sharding    the part of a selection that one of N machines runs (pure)
choice      all of these: from the options to the selected files
file_facts  what a file's source tells the schedule: its ranks, whether it imports torch
split       a large file in parts that run at the same time (pure)
"""
