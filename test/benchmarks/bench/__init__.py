"""The parts of the benchmark, one line each. `bench_harness.py` beside this folder is the command.

options        the types of options that several benchmarks have
plan           what is measured: cases, contenders, and which contender runs which case
translate      the source of a case, re-based on a contender's harness
bare           the floor: the harness names that a case needs, over a bare fork loop
upstream       upstream's class of fresh ranks, adapted to the CPU
continuous     upstream's class of lasting ranks, under the name that the cases use
sentinel       what a rank leaves behind to prove that it finished a test's body
function_body  the body of the tests that `bench_pytest.py` has pytest run
measure        one whole process: started, checked, timed
memory         PSS of ranks that wait
report         medians, ratios, growth and targets, as data
table          that data as text

    bench_harness --translate--> /tmp/.../case.py --start--> [ python case.py ] --> ranks
         ^                                                         |                  |
         '---- seconds, or why it does not count <---- exit status, output, sentinels-'
"""
