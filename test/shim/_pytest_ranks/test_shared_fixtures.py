"""Fixtures of every scope mean in ranks what they mean in pytest."""

import sys
from pathlib import Path

from torch_testing_shim.common_utils import run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import PytestTestCase

SCOPES = """
from pathlib import Path

LOG = Path(__file__).with_name("log")

def log(text):
    with open(LOG, "a") as stream:
        stream.write(f"{text}\\n")

def fixture_of(scope):
    @pytest.fixture(scope=scope)
    def fixture():
        log(f"set up {scope}")
        yield {"pid": os.getpid(), "tensor": torch.arange(3)}
        log(f"tear down {scope}")
    return fixture

of_session, of_package, of_module, of_class = map(fixture_of, ("session", "package", "module", "class"))

@pytest.fixture(autouse=True)
def of_function(request):
    if request.node.get_closest_marker("ranks") is not None:
        log(f"function {request.getfixturevalue('rank')}")

@pytest.fixture(scope="module", params=["x", "y"])
def parameter(request, of_session):
    log(f"set up {request.param}")
    yield request.param
    log(f"tear down {request.param}")

def setup_module(module):
    module.FROM_SET_UP = os.getpid()

@pytest.mark.ranks(2)
def test_all_scopes(of_session, of_package, of_module, rank):
    assert of_session["pid"] == of_package["pid"] == of_module["pid"] == FROM_SET_UP != os.getpid()
    assert of_session["tensor"].tolist() == [0, 1, 2]
    of_session["tensor"][0] = 7

@pytest.mark.ranks(2)
def test_ranks_do_not_change_shared_ones(of_session):
    assert of_session["tensor"].tolist() == [0, 1, 2]

def test_in_pytests_process(of_session, of_module):
    assert of_session["pid"] == of_module["pid"] == os.getpid()
    of_session["seen"] = True

@pytest.mark.ranks(2)
def test_after_it(of_session, request):
    assert request.getfixturevalue("of_module")["pid"] == of_session["pid"] != os.getpid()

@pytest.mark.ranks(2)
def test_parameters(parameter, rank):
    assert parameter in "xy"

@pytest.mark.ranks(2)
class TestOfClass:
    @classmethod
    def setup_class(cls):
        cls.pid = os.getpid()

    def setup_method(self):
        self.own = os.getpid()

    def test_a(self, of_class, rank):
        assert self.pid == of_class["pid"] != os.getpid() == self.own

    def test_b(self, of_class):
        assert self.pid == of_class["pid"]

@pytest.mark.ranks(2)
def test_late(request):
    assert request.getfixturevalue("of_late")["pid"] == os.getpid()

of_late = fixture_of("session")
"""

BUILT_IN = """
import logging, warnings
pytestmark = pytest.mark.ranks(2)
VALUE = 1

def test_monkeypatch(monkeypatch, rank):
    monkeypatch.setitem(globals(), "VALUE", 2)
    monkeypatch.setenv("OF_A_TEST", "1")
    assert VALUE == 2

def test_after_monkeypatch():
    assert VALUE == 1 and "OF_A_TEST" not in os.environ

def test_capsys(capsys, capfd_of_none=None):
    print("to stdout")
    assert capsys.readouterr().out == "to stdout\\n"

def test_capfd(capfd):
    os.system("echo of a child")
    assert capfd.readouterr().out == "of a child\\n"

def test_caplog(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("a").info("logged")
    assert caplog.messages == ["logged"]

def test_logs_and_fails():
    logging.getLogger("a").warning("logged before")
    assert 0

def test_tmp_path(tmp_path, rank, tmp_path_factory):
    assert tmp_path.parent.name == f"rank{rank}" and not [*tmp_path.iterdir()]
    (tmp_path / "file").write_text(str(rank))
    assert (tmp_path / "file").read_text() == str(rank)

def test_recwarn(recwarn):
    warnings.warn("careful", stacklevel=1)
    assert len(recwarn) == 1

@pytest.mark.filterwarnings("error")
def test_warning_is_error(rank):
    if rank:
        warnings.warn("careful", stacklevel=1)

@pytest.mark.parametrize("text", ["a", "b::c", "1.5"], ids=str)
@pytest.mark.parametrize("number", [1, 2])
def test_parameters(text, number, rank):
    assert (text, number) != ("b::c", 2)

def test_same_seed(rank, shared_tmp_path):
    (shared_tmp_path / str(rank)).write_text(str(torch.rand(1).item()))
    end = time.monotonic() + 20
    while len([*shared_tmp_path.iterdir()]) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len({one.read_text() for one in shared_tmp_path.iterdir()}) == 1
"""


class Scopes(PytestTestCase):
    def test_wider_fixtures_are_set_up_once_and_had_by_fork(self):
        self.write(SCOPES)
        run = self.run_pytest(expected=0)
        self.assertIn("9 passed", run.output)
        log = (self.folder / "log").read_text().splitlines()
        once = [line for line in log if line.startswith(("set up", "tear down")) and not line.endswith("session")]
        self.assertEqual(once, list(dict.fromkeys(once)))
        # once in pytest's process, and once more in each rank that asks for another one by name
        self.assertEqual(3, log.count("set up session"))
        self.assertEqual(3, log.count("tear down session"))
        self.assertEqual(["tear down session"], log[-1:])
        for line in ("set up package", "tear down module", "set up class", "tear down class", "tear down y"):
            self.assertIn(line, log)
        self.assertLess(log.index("tear down x"), log.index("set up y"))
        self.assertEqual(log.count("function 0"), log.count("function 1"))
        self.assertEqual(8, log.count("function 0"))

    def test_fixtures_of_pytest(self):
        self.write(BUILT_IN)
        run = self.run_pytest(expected=1)
        self.assert_ended(
            run,
            test_monkeypatch=("PASSED", ""),
            test_after_monkeypatch=("PASSED", ""),
            test_capsys=("PASSED", ""),
            test_capfd=("PASSED", ""),
            test_caplog=("PASSED", ""),
            test_logs_and_fails=("FAILED", "rank * failed: AssertionError: assert 0"),
            test_tmp_path=("PASSED", ""),
            test_recwarn=("PASSED", ""),
            test_warning_is_error=("FAILED", "rank 1 errored: UserWarning: careful"),
            test_same_seed=("PASSED", ""),
        )
        self.assertIn("Captured log call:\nWARNING  a:test_sample.py:", run.output)
        parameters = {name: found for name, found in run.outcomes.items() if name.startswith("test_parameters")}
        self.assertEqual(6, len(parameters))
        self.assertEqual(
            ["test_parameters[2-b::c]"], [n for n, found in parameters.items() if found[-1][0] == "FAILED"]
        )


if __name__ == "__main__":
    run_tests()
