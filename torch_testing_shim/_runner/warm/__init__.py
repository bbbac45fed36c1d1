"""The warm interpreter: it has imported torch, and run_test.py has test files run in processes forked from it.

    handle       the runner's handle on it

These run in the interpreter itself, and are the only modules of the runner that import the engine:

    interpreter  its own code: take requests, import ahead, fork
    source       which modules a test file imports, and whether it can be run warm, read off its source (pure)
    script       from a fork of the interpreter to what `python FILE ARGUMENTS` would be

    run_test.py --request, output--> warm interpreter --fork--> (between) --fork--> python FILE
         |      <--ready, refused---                                                    |
         |      <------------------------------ started --------------------------------|
         `------------------------------- its parent from here on ----------------------'

The process between ends at once. So the file's process is the runner's own child, as one that the runner has started by
itself: the runner sees its exit status, it dies with the runner, and it does not notice the interpreter's end.

Requests and events are packets of JSON. A file's command and environment, which may be long, lie in a file that the
request names (`process.command`):

    {"id": 1, "order": "/scratch/1/order.json", "avoid": {}} + the descriptor that the file prints to
    {"event": "ready", "devices": 0}
    {"event": "started", "id": 1, "pid": 4711}
    {"event": "refused", "id": 1, "reason": "..."}
    {"event": "spoiled", "id": 1, "module": "...", "reason": "..."}

An interpreter is spoiled where a module that it imports ahead starts a thread or registers a backend of RPC. It ends
then, the file runs cold, and another interpreter serves the next ones. Files that import that module run cold from then
on.
"""
