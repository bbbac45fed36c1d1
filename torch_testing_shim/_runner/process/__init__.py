"""Test files in processes: started, watched, ended, and folded into results.

From the plan to a process there are three records, each frozen:

    FileSelection  a file of the plan, with its selected tests
    RunOrder       one process of a file, and its kind: the first, one that resumes, a retry
    FileCommand    its command line and variables, as a developer would type them; a new interpreter runs it, or the
                   warm interpreter reads it as JSON and becomes it

The loop, and what it asks:

    schedule       which process runs when, and when the run stops
    slots          what keeps a process from starting: too few rank slots or accelerators, or the end of the run
    stop           Ctrl-C, SIGTERM and SIGHUP
    file_life      one file from its first process to its result
    retry          what runs next of a file once one of its processes has ended (pure)
    fold           what a file's journal and the end of its process say together (pure)

One process:

    command        `FileCommand`, and the interpreter that it runs in
    build_command  from a selection to its command; the line that runs a failed test again
    coverage_run   commands that run under coverage.py, and the report about all of them
    file_process   a file's process with its output and journal: started, watched, ended
    start          forked from the warm interpreter, or a new interpreter
    child_process  a child of the runner's, started or adopted
    process_tree   which processes belong to a test file, and how they are ended: asked first, then by force
    output_file    what a file prints, read as it grows and kept small
"""
