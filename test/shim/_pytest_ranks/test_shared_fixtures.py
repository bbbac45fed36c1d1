"""Fixtures of every scope mean in ranks what they mean in pytest."""

import sys
from pathlib import Path
from typing import ClassVar

from torch_testing_shim.common_utils import instantiate_parametrized_tests, parametrize, run_tests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_samples import SharedRunTestCase

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

CONFTEST = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    made = yield
    if call.when == "call":
        item.report = made.get_result()
"""

BUILT_IN = """
import logging, warnings
from pathlib import Path
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

@pytest.mark.parametrize("text", ["a", "b::c", "1.5", "x/[y]"], ids=str)
@pytest.mark.parametrize("number", [1, 2])
def test_parameters(text, number, rank):
    assert (text, number) != ("b::c", 2)

def test_chdir(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert os.getcwd() == str(tmp_path)

@pytest.fixture
def looks(request, rank):
    yield
    with open(Path(__file__).with_name("looked"), "a") as stream:
        stream.write(f"rank {rank} {request.node.report.outcome}\\n")

def test_report_of_the_call(looks, rank):
    assert rank == 0

def test_added_mark(request):
    request.node.add_marker(pytest.mark.xfail(reason="added"))
    assert 0

@pytest.fixture
def indirect(request, rank):
    return request.param + rank

@pytest.mark.parametrize("indirect", [10], indirect=True)
def test_indirect(indirect, rank):
    assert indirect == 10 + rank

@pytest.mark.parametrize(
    "value", [pytest.param(1, id="marked", marks=pytest.mark.xfail(reason="by its parameter"))]
)
def test_param(value):
    assert value == 2

def test_same_seed(rank, shared_tmp_path):
    (shared_tmp_path / str(rank)).write_text(str(torch.rand(1).item()))
    end = time.monotonic() + 20
    while len([*shared_tmp_path.iterdir()]) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len({one.read_text() for one in shared_tmp_path.iterdir()}) == 1
"""


class Scopes(SharedRunTestCase):
    """Fixtures of a wider scope are set up once, and had by fork."""

    files: ClassVar = {"test_sample.py": SCOPES}
    expected = 0

    def log(self):
        return self.left["log"].splitlines()

    def assert_once(self, *lines):
        for line in lines:
            self.assertEqual(1, self.log().count(line), line)

    def test_all_pass(self):
        self.assert_said("9 passed")

    def test_session(self):
        # once in pytest's process, and once more in each rank that asks for another one by name
        self.assertEqual(3, self.log().count("set up session"))
        self.assertEqual(3, self.log().count("tear down session"))
        self.assertEqual("tear down session", self.log()[-1])

    def test_package(self):
        self.assert_once("set up package", "tear down package")

    def test_module(self):
        self.assert_once("set up module", "tear down module")

    def test_class(self):
        self.assert_once("set up class", "tear down class")
        self.assert_ended(self.shared, **{f"TestOfClass::test_{name}": ("PASSED", "") for name in "ab"})

    def test_function(self):
        self.assertEqual(8, self.log().count("function 0"))
        self.assertEqual(8, self.log().count("function 1"))

    def test_parameters_of_a_module(self):
        self.assert_once("set up x", "tear down x", "set up y", "tear down y")
        self.assertLess(self.log().index("tear down x"), self.log().index("set up y"))

    def test_ranks_change_copies(self):
        self.assert_ended(self.shared, test_ranks_do_not_change_shared_ones=("PASSED", ""))

    def test_those_of_pytests_process_are_the_same(self):
        self.assert_ended(self.shared, test_in_pytests_process=("PASSED", ""), test_after_it=("PASSED", ""))

    def test_one_that_is_asked_for_late_is_made_in_the_rank(self):
        self.assert_ended(self.shared, test_late=("PASSED", ""))


class BuiltIn(SharedRunTestCase):
    """pytest's own fixtures, in each rank."""

    files: ClassVar = {"test_sample.py": BUILT_IN, "conftest.py": CONFTEST}

    @parametrize(
        "name",
        ["monkeypatch", "after_monkeypatch", "capsys", "capfd", "caplog", "tmp_path", "recwarn", "same_seed", "chdir"],
    )
    def test_means_what_it_means(self, name):
        self.assert_ended(self.shared, **{f"test_{name}": ("PASSED", "")})

    def test_logs_are_in_the_report(self):
        self.assert_ended(self.shared, test_logs_and_fails=("FAILED", "rank * failed: AssertionError: assert 0"))
        self.assert_said("Captured log call:\nWARNING  a:test_sample.py:")

    def test_request(self):
        self.assert_ended(
            self.shared,
            test_added_mark=("XFAIL", "added"),
            test_report_of_the_call=("FAILED", "rank 1 failed: "),
            **{"test_indirect[10]": ("PASSED", ""), "test_param[marked]": ("XFAIL", "by its parameter")},
        )
        self.assertEqual({"rank 0 passed", "rank 1 failed"}, set(self.left["looked"].splitlines()))

    def test_filters_of_warnings(self):
        self.assert_ended(self.shared, test_warning_is_error=("FAILED", "rank 1 errored: UserWarning: careful"))

    def test_parameters(self):
        ended = {name: found for name, found in self.shared.outcomes.items() if name.startswith("test_parameters")}
        self.assertEqual(8, len(ended))
        self.assertEqual(["test_parameters[2-b::c]"], [n for n, found in ended.items() if found[-1][0] == "FAILED"])


instantiate_parametrized_tests(BuiltIn)


if __name__ == "__main__":
    run_tests()
