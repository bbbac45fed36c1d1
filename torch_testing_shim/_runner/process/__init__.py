"""Test files in processes: started, watched, ended, and what they came to.

child_process  the process of a test file as the runner sees it, whoever has forked it: a child that is waited
               for
command        the command that runs one test file: exactly what a developer would type
coverage_run   coverage: test files run under coverage.py, and one report about all of them
early_end      how a test file's process is ended before it ends by itself: asked first, then by force
environment    the environment that a test file's process starts with
file_life      one file from its first process to its result: which of its processes are still to come
file_process   one test file in a child process of its own: started, watched, and ended with everything that it
               has started
fold           the fold: what a file's journal and the end of its process say together
output_file    what a test file prints: a file that its processes write to, read as it grows, and kept small
process_tree   which processes a test file has started, and how they are ended: whatever it started goes with it
rerun_line     the line that a failure ends with: the command that runs exactly this test again, in any shell
retry          what runs next of a file once one of its processes has ended
run_folder     the folder of one run: outputs, journals and temporary files of all its test files lie below it
schedule       the schedule: which process runs when, and when the run stops
slots          what files that run at the same time share: rank slots and accelerators
start          how a test file's process starts: forked from a warm interpreter, or as a new one
start_rules    which processes of a run may not start any more: the user has stopped it, its time is up, or a
               file has failed
stop           ctrl-C, SIGTERM and SIGHUP: the first one asks the run to stop, the second one ends it at once
"""
