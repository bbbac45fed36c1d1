"""One test, N ranks. Verbs only: it knows no test class, and no face is imported here.

    job            the order for one rank: frozen `RankJob`; what lies where in a test's scratch folder
    process_state  the state of the controller's process, in which ranks start
    scratch        a test's scratch folder: made and removed
    launcher       from jobs to running ranks; decides between zygote, fork server and spawn, and says why
    running_ranks  the ranks of a started test: asked, signalled, ended; rank_process: one, with multiprocessing's names
    keeper         the parent of ranks: starts them, reports their ends, ends what they leave
    keeper_link    the controller's handle on a keeper
    leftovers      processes that outlive the rank that started them
    zygote         the keeper that ranks are forked from, as the controller has it
    zygote_main    that process's own code
    new_interpreter  the command of an interpreter like this one
    fork_server    a zygote that is a new interpreter; fork_server_main: that process's own code
    likeness       what a new interpreter needs to become like the test process
    spawned        the supervisor: the keeper of ranks that are new interpreters
    spawned_main   what runs in these, and in the supervisor
    module_questions  whether a test module asks, while it is imported, if it is in a rank
    preload        what the zygote imports ahead; rehearsal: what it does ahead
    prepared_call  what a rank calls where its class has prepared that by itself
    rank_main      all that runs inside a rank
    loopback       ranks listen on the loopback interface alone
    rank_steps     a test in its rank, step by step: its body, its subtests, its cleanups
    unrun_body     a body that was never run is not a pass; forked_child: a process that a test forks is not the test's
    rank_outcomes  what a rank says of how its test ended
    rank_signals   how a rank and what it started are signalled
    common_end     ranks that are done leave together
    kept_ranks     ranks that run test after test of a class; kept_rank_main: what runs inside one
    channel        the pipe from a rank to the controller
    watchdog       waits for ranks; deadline, grace, terminate, kill
    stall          recognises a certain deadlock before the deadline
    testimony      what a rank has to tell before it is ended
    self_report    what a rank tells of itself when it is asked
    native_stacks  py-spy, where it is installed
    stacks         a rank's Python stacks: which line it stands at, in which call
    waits          what a thread waits for, also inside C++
    flight_recorder  which collectives a rank is in
    collective_log  what a rank enters, written down where its death cannot take it
    collective_operators  and which operators of torch these are
    collectives    where ranks parted, by these logs
    outcome        `RankOutcome`: how one rank ended
    verdict        what the outcomes of all ranks make of their test: a pure fold
    controller     one test in the controller, from its scratch folder to its verdict
    failure_text   the report of a test that did not pass; interruption: of one that was interrupted
    thread_ranks   the other kind of ranks: threads of the controller; thread_rendezvous: where they meet
    devices        the device in use and its process-group backend, asked of torch; device_error: why it cannot be used
    rank_device    which device is a rank's; binds it
    driver         asks the accelerator's driver without starting it here
    shared_devices  what torch.distributed is told where ranks share devices
    gloo_limits    what gloo lacks where it stands for another backend, made of what it has; own_messages: to oneself
    collective_copies  collectives on copies of tensors
    backend_records  what packages tell of their devices, where torch has no answer
    rank_hooks     what such a package wants done in each rank, before and after
    parent_death   no orphans
    threads        which threads hinder a fork of this process
    skip_codes  What means "skipped" in a rank: exceptions of unittest and pytest, and upstream's `TEST_SKIPS`, exit
        codes that tests pass to `sys.exit`
    torch_versions  What differs between versions of torch, asked of torch itself

One test's processes, and what flows between them:

    controller  --orders, channels-->  zygote  --fork-->  rank 0 ... rank N-1
        ^   <------started, ended------'                     |
        `--------------- one RankOutcome per channel <-------'

The controller is the zygote's parent and the zygote the ranks'. A controller that dies, however, takes the zygote with
it, and the zygote the ranks and what they started. Where ranks are spawned, a supervisor stands in the zygote's place.
"""
