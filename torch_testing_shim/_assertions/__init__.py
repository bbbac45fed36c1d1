"""Equality of values, and assertions on tensors and text. Imports torch alone.

tensors          `assertEqual` and the other assertions of tests of tensors
comparison       the differences between two values, each with its place
leaves           two tensors, numbers or other objects compared
expected_output  assertions on text that people read, which a run can rewrite
"""
