"""Settings of torch's compilers are put back: each case changes one part of it."""

import sys
from pathlib import Path

import torch
import torch._dynamo.compiled_autograd
import torch.fx.experimental._config

from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reset_cases import Cases

CASES = Cases()
#: Contexts that nobody leaves.
KEPT = []


@CASES.changes(lambda: torch.fx.experimental._config.translation_validation)
def configuration():
    torch.fx.experimental._config.translation_validation = True


@CASES.changes(lambda: torch._dynamo.eval_frame._stance.stance)
def stance():
    torch.compiler.set_stance("force_eager")


@CASES.changes(lambda: torch._dynamo.compiled_autograd.compiled_autograd_enabled)
def compiled_autograd():
    KEPT.append(torch._dynamo.compiled_autograd._enable(print))
    KEPT[-1].__enter__()


@CASES.changes(torch._C._jit_texpr_fuser_enabled)
def fuser():
    torch._C._jit_set_texpr_fuser_enabled(not torch._C._jit_texpr_fuser_enabled())


@CASES.changes(torch._C._jit_can_fuse_on_cpu)
def fusion():
    torch._C._jit_override_can_fuse_on_cpu(not torch._C._jit_can_fuse_on_cpu())


def profiles_scripts():
    torch._C._jit_set_profiling_mode(former := torch._C._jit_set_profiling_mode(False))
    return former


@CASES.changes(profiles_scripts)
def profiling():
    torch._C._jit_set_profiling_mode(not profiles_scripts())


class EachPart(TestCase):
    def test_is_put_back(self):
        self.assertEqual({}, CASES.run_forked())


if __name__ == "__main__":
    run_tests()
