"""Names of test files, and names that hypothesis makes up, for tests of what a user types."""

from hypothesis import strategies as st

from torch_testing_shim._runner.plan.request import Place

NAMES = (
    "distributed/checkpoint/test_fsdp_optim_state",
    "distributed/checkpoint/test_planner",
    "distributed/test_store",
    "shim/_shared/test_journal",
    "test_top",
)
IN_ROOT = Place(test_folder="/repo/test", working_folder="/repo")

_PARTS = st.sampled_from(["test_a", "test_b", "x", "y"])
#: Sorted names of test files.
NAME_SETS = st.lists(st.lists(_PARTS, min_size=1, max_size=3).map("/".join), unique=True, min_size=1).map(sorted)
