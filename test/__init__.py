"""Makes `python -m unittest test/...` find these tests: without it, `test` is the standard library's package."""
