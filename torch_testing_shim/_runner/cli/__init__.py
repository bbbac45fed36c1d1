"""The command line: arguments in, an exit status out.

arguments         the command line: arguments in, one frozen `Options` out
completion        completion of the command line in the user's shell, by argcomplete where that is installed
main              the runner from beginning to end: options, choice of files, a list or a dry run or the run,
                  the exit status
merge_command     the command that merges reports: prints what all runs came to, writes the page, and answers
                  with the one verdict
options           what the user asks of a run: one frozen `Options`, made by `arguments`
upstream_options  options of upstream's `run_test.py` that mean nothing here: accepted, so that a command line
                  carries over, and noted
"""
