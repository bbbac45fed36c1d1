"""What equal means. Imports torch alone, and grafts for what unittest's assertions change.

comparison           what `assertEqual` means: the differences between two values, each with its place
expected_output      assertions on text that people read: expected in the source itself, or in a file beside the
                     test
leaves               whether two values that hold no other values are equal, and what to say where they are not
normalization        brings two values that tests regard as equal, though they are of different kinds, to one
                     kind
tensors              the assertions that tests of tensors need and unittest has not
unittest_assertions  the assertions of unittest that upstream's `TestCase` changes: whose logs are read, and
                     which exceptions count
"""
