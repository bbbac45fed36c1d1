"""What an expectations file looks like, in the words that `--help` shows."""

from __future__ import annotations

__all__ = ["FORMAT"]

FORMAT = """\
  An expectations file is TOML, with one entry for each test or group of tests:

    [[test]]
    id = "distributed/test_x::TestFoo.test_bar"      # needed, as --list and failures name it
    expect = "xfail"                                 # needed: xfail, skip or flaky
    reason = "no bfloat16 all_reduce yet"
    issue = "https://github.com/..."
    when = { device = "npu", torch = ">=2.6,<2.9" }  # only there; device may be a list, torch is as in PEP 440
    error = "not implemented for 'BFloat16'"         # a regular expression, searched in the report of the failure

  xfail: the test runs and has to fail, by that error where one is given. A pass and another error are failures.
  skip: the test does not run. flaky: the test may fail; it runs again up to twice, or as --retries says.
  An id may be FILE::Class or FILE for all tests there, or a glob: *, ?, [abc], {this,that}. An exact id comes before
  globs, and a later glob before an earlier one. An entry that matches no test fails a run that has listed all tests
  it could match."""
