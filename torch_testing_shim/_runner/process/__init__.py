"""Test files in processes: started, watched, ended, and folded into results.

From the plan to a process there are three records, each frozen:

    FileSelection  which tests of which file: the plan's
    RunOrder       one process of a file, and what it is for: the first one, the rest, a test again
    FileCommand    its command line and variables, as a developer would type them; a new interpreter runs it, or the
                   warm interpreter reads it as JSON and becomes it

The loop, and what it asks:

    schedule       which process runs when, and when the run stops
    slots          rank slots and accelerators that files share (pure)
    start_rules    which processes may not start any more (pure)
    stop           Ctrl-C, SIGTERM and SIGHUP
    file_life      one file from its first process to its result
    retry          what runs next of a file once one of its processes has ended (pure)
    fold           what a file's journal and the end of its process say together (pure)

One process:

    command        `FileCommand`, and the interpreter that it runs in
    build_command  from a selection to its command
    rerun_line     the line that runs a failed test again
    coverage_run   commands that run under coverage.py, and the report about all of them
    file_process   a file's process with its output and journal: started, watched, ended
    start          forked from the warm interpreter, or a new interpreter
    child_process  a child that is waited for, whoever has forked it
    process_tree   which processes belong to a test file, and how they are ended
    early_end      how a process is ended early: asked first, then by force
    output_file    what a file prints, read as it grows and kept small
    run_folder     the folder of one run
"""
