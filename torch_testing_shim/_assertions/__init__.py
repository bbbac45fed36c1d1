"""Equality of values, and assertions on tensors and text. Imports torch alone.

tensors          `assertEqual` of tests of tensors
comparison       the differences between two values, each with its place
leaves           two tensors, numbers or other objects compared
expected_output  `assertExpectedInline`, whose text a run can rewrite
"""
