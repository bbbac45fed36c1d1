"""What the program, the engine and the runner share. Standard library only.

cores               the number of cores that this process may use
device_map          which device stands for which in a run: `cuda=cpu`
exit_status         exit codes in words, for the runner, for `run_tests` and for the engine
hardware            the hardware that a class of tests is for, as it says itself: `hw_classification`, and the
                    choice by it
interpreter_flags   the interpreter's own options, as they were typed: `-W error`, `-bb`, `-O`
journal             the journal: one JSON line as each test starts and as it ends
journal_reading     reads journals (see `_journal`), also torn ones and those that are still being written
keyword_expression  what `-k` takes: unittest's patterns, and pytest's expressions where there are blanks or
                    parentheses
main_part           how a test file runs its tests, read off its source: by itself, or by pytest
node_ids            names of tests: "Class.method", where the method's name may be anything that a parameter has
                    put into it
owned_folders       folders that belong to a process: made and removed by it, and where it was killed, by the
                    next one
parent_death        A process that asks the kernel for a signal when its parent dies, so that a killed
                    controller leaves no orphans
process_identity    whose a folder is: a stamp that names one process for good, and the question whether that
                    process lives
repeated_frames     fold the frames of a recursion in the text of a traceback or a stack
rerun_command       the line that a failure ends with: the command that runs exactly this test again
running_script      the test file that this process runs: how it is started, and `load_tests`, by which it runs
                    its own tests and none that it has imported by mistake
settings            the one reader of the environment: variables in, a frozen `Settings` out
stack_request       where a test file's process stands, asked from outside: a signal has it print the Python
                    stacks of all its threads
standard_streams    streams that a process was started without: cron, daemons and `>&-` close them
stop_signals        the signals by which people and machines stop a run: of a test file and of the runner
"""
