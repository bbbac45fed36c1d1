"""Grafts: what a face lacks is the installed torch's own, built on ours. What leaves state has a process of its own."""

import ast
import importlib
import os
import pickle
import sys
import tempfile
import textwrap
import types
from pathlib import Path
from unittest import mock

import torch

import torch_testing_shim
from torch_testing_shim import common_distributed, common_fsdp, common_utils
from torch_testing_shim._cases.world import seconds_for
from torch_testing_shim._upstream import graft
from torch_testing_shim._upstream.graft import GraftError, served
from torch_testing_shim._upstream.modules import home_of, source_file
from torch_testing_shim.common_utils import TestCase, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness_samples import SampleTestCase
from quartz_samples import InstalledQuartzTestCase

PACKAGE = Path(torch_testing_shim.__file__).parent
#: Names that torch's modules bind only under a condition, or as a loop goes on; upstream's lack them here, too.
BOUND_ELSEWHERE = {
    "common_cuda.__cuda_ctx_rng_initialized": "its function's own",
    "common_cuda.numba": "only where that package is installed",
    "common_device_type.mod": "only where TORCH_TEST_DEVICES is set",
    "common_device_type.path": "only where TORCH_TEST_DEVICES is set",
    "common_distributed._backend": "a loop over accelerators",
    "common_distributed._flag": "a loop over accelerators",
    "common_distributed.torchcomms": "only where that package is installed",
    "common_fsdp.acc": "only where there is an accelerator",
    "common_methods_invocations.dsl_name": "a loop over such packages",
    "common_methods_invocations.pn": "a loop over such packages",
    "common_methods_invocations.scipy": "only where that package is installed",
    "common_methods_invocations.stats": "scipy's",
    "common_mps.mps_ops_error_inputs_modifier": "only on macOS",
    "common_mps.mps_ops_grad_modifier": "only on macOS",
    "common_quantization.torchvision": "only where that package is installed",
    "common_utils.__main__": "the importing process's main module",
    "common_utils.gb_available": "only where NUM_PARALLEL_PROCS is set",
    "common_utils.help_thread": "only where a file is run as a script",
    "common_utils.num_procs": "only where NUM_PARALLEL_PROCS is set",
    "distributed.distributed_test.msvcrt": "only on Windows",
    "distributed.distributed_test.torchvision": "only where that package is installed",
}
#: The same, of names that begin so: only where those packages are installed, and more with each version of torch.
BOUND_ELSEWHERE_BEGIN = ("common_methods_invocations._cutedsl_", "common_methods_invocations._flydsl_")
#: Faces that are ours alone, with no module of upstream's at their path.
OUR_OWN = ("distributed.agreement", "distributed.sharded_comparison")


def faces():
    """The modules of this package that stand for one of upstream's, by their path below it."""
    found = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")]
    below = [name.removesuffix(".__init__") for name in sorted(found) if not name.startswith("_")]
    return [name for name in below if (source_file(name) is not None and "." in name) or name.startswith("common_")]


def test_modules():
    """All modules of the installed torch that distributed tests import, by their path below the package."""
    root = source_file("").parent
    found = [".".join(path.relative_to(root).with_suffix("").parts) for path in sorted(root.rglob("*.py"))]
    below = [name.removesuffix(".__init__") for name in found]
    return [name for name in below if name.partition(".")[0] == "distributed" or name.startswith("common_")]


#: Asks each module for each name of torch's, and writes those that it does not have, or that nobody is said to own.
ASK_ALL = """
import importlib, sys, warnings
from torch_testing_shim._upstream.graft import bound_names
from torch_testing_shim._upstream.surface import Owner, owner_of
warnings.simplefilter("ignore")
count = 0
answers = open(sys.argv[1], "w")
for below in sys.argv[2:]:
    module = importlib.import_module(f"torch_testing_shim.{below}")
    for name in sorted(bound_names(module.__name__)):
        count += 1
        if not hasattr(module, name) or owner_of(f"torch.testing._internal.{below}.{name}") is Owner.ABSENT:
            print(f"{below}.{name}", file=answers)
print(*(name for name in sys.modules if name == "torch.testing._internal.common_utils"), file=answers)
print(count, file=answers)
answers.close()
"""
#: Variables that distributed_test reads when it is imported.
OF_DISTRIBUTED_TEST = {"BACKEND": "gloo", "WORLD_SIZE": "2", "TEMP_DIR": "/tmp", "INIT_METHOD": "env://"}


def definitions(below):
    """The names that upstream's module defines, in whatever it does at its top level but import."""
    names = set()
    for node in ast.parse(source_file(below).read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def imported_for_itself(face):
    """The names that a face binds by an import and does not pass on, as `import name as name` does."""
    tree = ast.parse(Path(importlib.import_module(face).__file__).read_text())
    names = {alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return {alias.asname or alias.name for alias in names if alias.asname != alias.name}


class Faces(TestCase):
    def test_there_are_some(self):
        self.assertIn("common_utils", faces())
        self.assertIn("distributed._tensor.common_dtensor", faces())
        self.assertFalse(set(OUR_OWN) & set(faces()))

    def test_nothing_is_ours_but_what_a_face_declares(self):
        """Names that a face imports for itself must not be the name of something that torch's module defines."""
        imported = {below: imported_for_itself(f"torch_testing_shim.{below}") for below in faces()}
        found = {below: sorted(names & definitions(below)) for below, names in imported.items()}
        self.assertEqual({}, {below: names for below, names in found.items() if names})
        self.assertIn("served", imported["common_utils"])


class Names(SampleTestCase):
    def test_every_name_of_torchs_is_ours_or_torchs_or_has_a_reason(self):
        """In all modules for distributed tests, those without a face, too; each name is really asked for. None brings
        torch's own harness, which starts an accelerator's driver when it is imported."""
        path, answers = self.folder / "ask_all.py", self.folder / "answers"
        path.write_text(ASK_ALL)
        asked = self.run_command(str(path), str(answers), *test_modules(), **OF_DISTRIBUTED_TEST)
        self.assertEqual(0, asked.exit_code, asked.output)
        *lacking, count = answers.read_text().split()
        lacking = {name for name in lacking if not name.startswith(BOUND_ELSEWHERE_BEGIN)}
        self.assertEqual(set(), lacking - BOUND_ELSEWHERE.keys())
        self.assertGreater(int(count), 2000)

    def run_code(self, code, says=""):
        path = self.folder / "sample_code.py"
        path.write_text(textwrap.dedent(code) + "\nprint('came to its end')\n")
        run = self.run_command(str(path))
        self.assertEqual((f"{says}came to its end\n", 0), (run.output, run.exit_code), run.output)

    def test_a_name_costs_what_it_needs(self):
        self.run_code(
            """
            import sys
            import torch_testing_shim.common_utils as utils

            modules = set(sys.modules)
            before = set(vars(utils))
            check_leaked_tensors = utils.check_leaked_tensors
            assert "gc" in set(vars(utils)) - before
            assert not set(vars(utils)) - before & {"op_db", "TestGradients", "download_file"}
            assert not {name for name in set(sys.modules) - modules if name.startswith("torch.onnx")}
            file = check_leaked_tensors.__wrapped__.__code__.co_filename
            assert file.endswith("torch/testing/_internal/common_utils.py")
            assert "torch.testing._internal.common_utils" not in sys.modules
            assert "pytest" in sys.modules  # which torch's module imports, too
            """
        )

    def test_classes_are_built_on_ours_and_pickled_by_a_name_that_every_process_can_import(self):
        self.run_code(
            """
            import pickle
            from torch_testing_shim.common_utils import NestedTensorTestCase, TestCase, BytesIOContext
            from torch_testing_shim.distributed._tensor import common_dtensor
            from torch_testing_shim.distributed._tensor.common_dtensor import DTensorTestBase
            from torch_testing_shim.common_optimizers import OptimizerInfo
            import torch_testing_shim.common_modules as modules

            assert issubclass(NestedTensorTestCase, TestCase)
            if hasattr(common_dtensor, "LocalDTensorTestBase"):  # torch 2.6 has none
                assert issubclass(common_dtensor.LocalDTensorTestBase, DTensorTestBase)
            assert modules.TestCase is TestCase
            classes = (BytesIOContext, OptimizerInfo, modules.ModuleInfo)
            for what in classes:
                assert what.__module__.startswith("torch_testing_shim."), what.__module__
            open("pickles", "w").write(str([*map(pickle.dumps, classes)]))
            """
        )
        pickles = ast.literal_eval((self.folder / "pickles").read_text())
        for pickled, name in zip(pickles, ("BytesIOContext", "OptimizerInfo", "ModuleInfo"), strict=True):
            self.run_code(f"import pickle; print(pickle.loads({pickled!r}).__name__)", says=f"{name}\n")

    def test_a_traceback_shows_torchs_lines(self):
        self.run_code(
            """
            import inspect, traceback
            from torch_testing_shim import common_utils
            from torch_testing_shim.common_utils import random_matrix
            try:
                random_matrix(1, "x", device="cpu", dtype=None)
            except Exception as error:
                assert inspect.getmodule(error.__traceback__.tb_next.tb_frame) is common_utils
                [frame] = [f for f in traceback.extract_tb(error.__traceback__) if f.name == "random_matrix"]
            assert frame.filename.endswith("torch/testing/_internal/common_utils.py")
            assert frame.line in open(frame.filename).read().splitlines()[frame.lineno - 1]
            """
        )

    def test_modules_that_import_each_other(self):
        """opinfo.core and common_device_type do, the second when it is called; common_utils and common_cuda, too."""
        self.is_cold = True  # the order of the first imports is the matter
        self.run_code(
            """
            import torch_testing_shim.opinfo.core as core
            from torch_testing_shim.common_device_type import skipOps, ops
            from torch_testing_shim.common_cuda import initialize_cuda_context_rng
            from torch_testing_shim.common_utils import CudaMemoryLeakCheck
            import torch_testing_shim.opinfo
            assert torch_testing_shim.opinfo.core is core
            """
        )

    def test_threads_that_ask_at_once(self):
        self.run_code(
            """
            import threading
            found = []
            def ask(name):
                import torch_testing_shim.common_utils as utils
                found.append(getattr(utils, name))
            names = ["TestGradients", "check_leaked_tensors", "munge_exc", "random_matrix"] * 5
            threads = [threading.Thread(target=ask, args=(name,)) for name in names]
            [thread.start() for thread in threads]
            [thread.join(60) for thread in threads]
            assert len(found) == len(names) and len(set(map(id, found))) == 4, found
            """
        )


class Serving(TestCase):
    """`served` over a made-up module of torch's."""

    def face(self, source, ours="", lazy=None):
        name = f"torch_testing_shim.made_up_{self._testMethodName}"
        module = types.ModuleType(name)
        exec(textwrap.dedent(ours), vars(module))
        vars(module)["__getattr__"] = served(name, lazy or {})
        path = self.written(source)
        for patch in (
            mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(path.parent)}),
            mock.patch.dict(sys.modules, {name: module}),
            mock.patch.object(graft, "source_file", lambda below: path if below in name else source_file(below)),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        return module

    def written(self, source):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, "module.py")
        path.write_text(textwrap.dedent(source))
        return path

    def test_ours_stays_and_torchs_uses_it(self):
        source = """
            def helper(): return "torch's"
            def wanted(): return helper(), other()
            def other(): return "torch's"
            """
        face = self.face(source, "def helper(): return 'ours'")
        self.assertEqual(("ours", "torch's"), face.wanted())
        self.assertEqual("ours", face.helper())

    def test_a_statement_that_binds_ours_and_others(self):
        face = self.face("if True:\n    ours = 1\n    theirs = 2\n", "ours = 0")
        self.assertEqual((2, 0), (face.theirs, face.ours))

    def test_what_is_answered_when_asked_is_there_for_torchs_functions(self):
        asked = []
        face = self.face("FLAG = 1\ndef flag(): return FLAG\n", lazy={"FLAG": lambda: asked.append(1) or "ours"})
        self.assertEqual([], asked)
        self.assertEqual("ours", face.flag())
        face.FLAG = "set"
        self.assertEqual("set", face.flag())

    def test_what_changes_a_name_comes_with_it_and_nothing_else_is_run(self):
        source = """
            import sys
            sys.made_up_effect = True
            table = {}
            table["a"] = 1
            if table:
                table["b"] = 2
            unwanted = 1 / 0
            """
        face = self.face(source)
        self.assertEqual({"a": 1, "b": 2}, face.table)
        self.assertFalse(hasattr(sys, "made_up_effect"))
        with self.assertRaises(ZeroDivisionError):
            _ = face.unwanted

    def test_the_command_line_is_not_torchs(self):
        with mock.patch.object(sys, "argv", ["test_x.py", "-h"]):
            face = self.face("import sys\nARGUMENTS = sys.argv\n")
            self.assertEqual((["test_x.py"], ["test_x.py", "-h"]), (face.ARGUMENTS, sys.argv))

    def test_a_name_that_is_bound_twice_is_the_last(self):
        face = self.face("def f(): return 1\ng = f\ndef f(): return g() + 1\n")
        self.assertEqual(2, face.f())

    def test_patches_take_effect_and_are_undone(self):
        face = self.face("def inner(): return 1\ndef outer(): return inner()\n")
        with mock.patch.object(face, "inner", lambda: 2):
            self.assertEqual(2, face.outer())
        self.assertEqual((1, 1), (face.outer(), face.inner()))

    def test_a_name_that_nobody_has(self):
        face = self.face("x = 1\n")
        with self.assertRaisesRegex(AttributeError, "has no attribute 'no_such_name', and neither has torch's"):
            _ = face.no_such_name

    def test_a_name_that_torch_has_moved_is_found(self):
        self.assertEqual("common_dtype", home_of("floating_and_complex_types_and", ""))
        face = self.face("x = 1\n")
        from torch_testing_shim.common_dtype import floating_and_complex_types_and

        self.assertIs(floating_and_complex_types_and, face.floating_and_complex_types_and)

    def test_what_cannot_be_imported_is_said_in_one_line(self):
        face = self.face("from torch.testing._internal.common_utils import renamed_in_another_version as x\n")
        with self.assertRaisesRegex(
            GraftError, "^torch_testing_shim.made_up_.*, as the installed torch has it: .*renamed_"
        ):
            _ = face.x

    def test_a_test_case_that_is_not_built_on_ours_is_said_in_one_line(self):
        face = self.face("import unittest\nclass NewBase(unittest.TestCase): pass\nclass Case(NewBase): pass\n")
        with self.assertRaisesRegex(GraftError, "NewBase of the installed torch is built on TestCase, which"):
            _ = face.Case


class Reuse(TestCase):
    def test_the_same_object_each_time(self):
        self.assertIs(common_utils.check_leaked_tensors, common_utils.check_leaked_tensors)
        self.assertIs(common_fsdp.FSDPTest, pickle.loads(pickle.dumps(common_fsdp.FSDPTest)))


#: A value that a test file assigns to a name of a face holds for the base classes, too, as it does upstream.
ASSIGNED = """
from unittest import mock
from torch_testing_shim import common_fsdp
from torch_testing_shim.common_fsdp import FSDPTest, FSDPTestContinuous
from torch_testing_shim.distributed._tensor import common_dtensor
from torch_testing_shim.distributed._tensor.common_dtensor import DTensorContinuousTestBase, DTensorOpTestBase

common_fsdp.DISTRIBUTED_BACKEND = "cpu:gloo,quartz:quartzlink"
common_dtensor.NUM_DEVICES = 3
common_dtensor.DEVICE_TYPE = "cpu"

class TwoBackends:
    world_size = 2

    def test_it(self):
        for device in ("cpu", "quartz"):
            ones = torch.ones(2, device=device)
            dist.all_reduce(ones)
            self.assertEqual(2, ones[0].item())

class FSDP(TwoBackends, FSDPTest): pass
class KeptFSDP(TwoBackends, FSDPTestContinuous): pass

class OnCpu:
    def test_it(self):
        mesh = self.build_device_mesh()
        self.assertEqual(("cpu", 3), (mesh.device_type, mesh.size()))

class DTensor(DTensorTestBase):
    test_it = with_comms(OnCpu.test_it)

    @mock.patch.object(common_dtensor, "DEVICE_TYPE", "quartz")
    @with_comms
    def test_patched(self):
        self.assertEqual(("quartz", "quartzlink"), (self.device_type, dist.get_backend()))

class KeptDTensor(OnCpu, DTensorContinuousTestBase):
    world_size = 3

class Operators(OnCpu, DTensorOpTestBase): pass
"""


class Slow(TestCase):
    @common_utils.slowTest
    def runTest(self):
        pass


class AssignedHere(TestCase):
    """A value that a test file assigns to a name of common_distributed or common_utils holds for what is ours."""

    def test_limits(self):
        limits = common_distributed
        with mock.patch.object(limits, "DEFAULT_WORLD_SIZE", 3), mock.patch.dict(os.environ, WORLD_SIZE=""):
            for base in (limits.MultiProcessTestCase, limits.MultiThreadedTestCase):
                self.assertEqual(3, base().world_size)
        with mock.patch.object(limits, "TIMEOUT_DEFAULT", 11), mock.patch.object(limits, "TIMEOUT_OVERRIDE", {"t": 7}):
            self.assertEqual((7, 11), (limits.get_timeout("m.C.t"), limits.get_timeout("m.C.u")))
        with mock.patch.object(limits, "get_timeout", lambda test_id: 5):
            self.assertEqual(5, seconds_for("m.C.t"))
        self.assertNotEqual(5, seconds_for("m.C.t"))

    def test_seed(self):
        with mock.patch.object(common_utils, "SEED", 9):
            common_utils.set_rng_seed()
        self.assertEqual(9, torch.initial_seed())

    def test_which_tests_run(self):
        with mock.patch.object(common_utils, "TEST_WITH_SLOW", False, create=True):
            self.assertEqual(1, len(Slow().run().skipped))
        with mock.patch.object(common_utils, "TEST_WITH_SLOW", True, create=True):
            self.assertEqual([], Slow().run().skipped)


class Assigned(InstalledQuartzTestCase):
    def test_the_base_classes_take_it(self):
        run = self.run_sample(ASSIGNED)
        self.assertEqual((0, 6), (run.exit_code, len(run.entries)), run.output)


if __name__ == "__main__":
    run_tests()
