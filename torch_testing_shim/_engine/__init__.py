"""One test, N ranks. The package knows no test class, and imports no face.

The order for a rank, and what it makes of it:

    job                   the order for one rank (`RankJob`), and its test's scratch folder
    outcome               how one rank ended (`RankOutcome`)
    verdict               the outcomes of all ranks, folded into one verdict: pure

In the controller:

    controller            one test, from its scratch folder to its verdict
    persistent_ranks      ranks that run test after test of a class, with the code for them there
    thread_ranks          ranks that are threads of the controller
    thread_rendezvous     where these meet
    failure_text          the report of a test that did not pass
    interruption          the report of a test that was interrupted

Starting ranks:

    launcher              chooses between zygote, fork server and supervisor, and says why
    running_ranks         the started ranks of a test, which can be asked, signalled and ended
    rank_process          one of them as its test's code sees it, with multiprocessing's names
    rank_servers          the zygote, the fork server and the supervisor, as the controller starts and holds them
    rank_server           the parent of ranks: starts them, reports their ends, ends what they leave
    leftovers             processes that outlive the rank that started them
    zygote_main           the zygote's own code
    new_interpreter       the command of a new interpreter, and how it becomes like the test process
    preload               modules that the zygote imports ahead
    module_questions      test modules that ask, while they are imported, whether they are in a rank
    process_state         the state of the controller's process, in which ranks start
    threads               which threads hinder a fork of this process

In a rank:

    rank_main             the main program of a rank, with the hooks of a device's package
    rank_preparation      prepares a rank's process, once and for each test
    rank_steps            body, subtests and cleanups of a test, step by step
    rank_warnings         the file of a rank's warnings
    rank_outcomes         outcomes of exceptions, skips and passes; what means a skip
    unrun_body            a body that never ran is not a pass
    channel               the pipe from a rank to the controller; ranks that are done leave together
    collective_log        logs each collective as the rank enters it
    quick_store           ranks that meet in a file learn at once that another has come
    loopback              ranks listen on the loopback interface alone
    parked_backend        a gloo backend that outlives its process groups, and how ranks agree on it
    parked_group          the default group's connections stay from test to test, in ranks that are reused

Ranks that a launcher has started:

    joined                processes on one machine or several, which are the ranks of every test

Watching them:

    watchdog              waits for ranks; deadline, grace, terminate, kill
    stall                 recognises a certain deadlock before the deadline
    diagnostics           stacks of running ranks, taken before they are ended
    self_report           a rank's report on itself
    stacks                where a rank stands
    waits                 what a thread waits for
    flight_recorder       the collectives that a rank is in, by torch's Flight Recorder
    collectives           where ranks parted, by their logs

Devices:

    devices               the device in use, its process-group backend, and which device is a rank's
    driver                asks an accelerator's driver without starting it here
    backend_records       what packages tell of their devices, where torch has no answer
    shared_devices        ranks that share devices, over gloo
    gloo_limits           makes up for what gloo lacks
    collective_works      works that stand for gloo's: on copies of tensors, and within one rank

One test's processes, and what flows between them:

    controller  --orders, channels-->  zygote  --fork-->  rank 0 ... rank N-1
        ^   <------started, ended------'                     |
        `--------------- one RankOutcome per channel <-------'

The controller is the zygote's parent and the zygote the ranks'. A controller that dies, however, takes the zygote with
it, and the zygote the ranks and what they started. Where ranks are spawned, a supervisor stands in the zygote's place.
"""
