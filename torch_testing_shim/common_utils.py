"""Upstream's `common_utils`: what every test file imports.

Flags that cost time to find (`TEST_CUDA`, `IS_CI`) are found when a test names them.
"""

from __future__ import annotations

import importlib

from torch_testing_shim._cases.base import TestCase as TestCase
from torch_testing_shim._isolation.hypothesis_profiles import load_profile_with_hypothesis
from torch_testing_shim._isolation.torch_state import (
    SEED as SEED,
    freeze_rng_state as freeze_rng_state,
    set_rng_seed as set_rng_seed,
)
from torch_testing_shim._program.entry import run_tests as run_tests
from torch_testing_shim._program.selection import load_tests as load_tests
from torch_testing_shim._shared.hardware import (
    HardwareClassification as HardwareClassification,
    filter_by_hw_classification as filter_by_hw_classification,
    get_hw_classification as get_hw_classification,
)
from torch_testing_shim._skips.by_machine import (
    lazy_skip_if as lazy_skip_if,
    requires_accelerator as requires_accelerator,
    requires_cuda as requires_cuda,
    requires_multigpu as requires_multigpu,
    serialTest as serialTest,
    skip_but_pass_in_sandcastle as skip_but_pass_in_sandcastle,
    skip_but_pass_in_sandcastle_if as skip_but_pass_in_sandcastle_if,
    skip_if_pytest as skip_if_pytest,
    skipIfRocm as skipIfRocm,
    skipIfTorchDynamo as skipIfTorchDynamo,
    slowTest as slowTest,
    slowTestIf as slowTestIf,
)
from torch_testing_shim._skips.flags import (
    FILE_SCHEMA as FILE_SCHEMA,
    IS_ARM64 as IS_ARM64,
    IS_FBCODE as IS_FBCODE,
    IS_LINUX as IS_LINUX,
    IS_MACOS as IS_MACOS,
    IS_REMOTE_GPU as IS_REMOTE_GPU,
    IS_SANDCASTLE as IS_SANDCASTLE,
    IS_WINDOWS as IS_WINDOWS,
    IS_X86 as IS_X86,
    LAZY_FLAGS,
    NO_MULTIPROCESSING_SPAWN as NO_MULTIPROCESSING_SPAWN,
    TEST_WITH_AOT_EAGER as TEST_WITH_AOT_EAGER,
    TEST_WITH_CROSSREF as TEST_WITH_CROSSREF,
    TEST_WITH_ROCM as TEST_WITH_ROCM,
    TEST_WITH_TORCHDYNAMO as TEST_WITH_TORCHDYNAMO,
    TEST_WITH_TORCHINDUCTOR as TEST_WITH_TORCHINDUCTOR,
    settings_or_default,
)
from torch_testing_shim._upstream.graft import grafted, served

__unittest = True  # unittest and pytest leave the frames of this module out of a report

# A profile applies to @given tests that are defined after it is loaded, so it is loaded before the test file continues.
load_profile_with_hypothesis(settings_or_default())

_HOW_OURS_STARTS = {
    # torch's statement that binds these two also sets hypothesis's profiles, which is ours to do.
    "hypothesis": lambda: importlib.import_module("hypothesis"),
    "settings": lambda: importlib.import_module("hypothesis").settings,
    # torch's has none before its own `run_tests` has read the command line.
    "GRAPH_EXECUTOR": lambda: grafted(__name__, "cppProfilingFlagsToProfilingMode")(),
}
__getattr__ = served(__name__, {**LAZY_FLAGS, **_HOW_OURS_STARTS})
