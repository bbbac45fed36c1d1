"""Equality of values, and assertions on tensors and text. Imports torch alone.

tensors          `assertEqual` of tests of tensors
comparison       the differences between two values, each with its place
leaves           two tensors, numbers or other objects compared
expected_output  text that people read, which stands in the source and a run can rewrite
"""
