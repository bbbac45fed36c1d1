"""Expectations as test files' processes read them: an entry, and which tests it is about. Standard library only.

expectation  one entry of an expectations file
ids          ids of tests in an expectations file: `FILE::Class.test`, `FILE::Class::test`, `FILE::Class`,
             `FILE`, globs
lookup       which entry applies to a test
skip_list    what a test file's process is told: the entries about its file, from which it reads which tests it
             is to skip
"""
