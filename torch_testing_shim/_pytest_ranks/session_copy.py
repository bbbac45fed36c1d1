"""pytest's session in a new interpreter: the same options, one test.

It is needed where ranks cannot be forked from pytest's process: in a worker of pytest-xdist, which has threads, or
beside an accelerator that runs there. Fixtures are made anew in each rank then, whatever their scope.
"""

from __future__ import annotations

import json
from typing import Any

from torch_testing_shim._engine.job import ScratchFolder
from torch_testing_shim._pytest_ranks.rank_coverage import coverage_options, start_coverage

#: Plugins that a copy has no use for: they report, start processes, or run tests again.
_WITHOUT = ("terminal", "pytest_cov", "rerunfailures", "forked")
#: Options of pytest, pytest-xdist and others that are for the whole run: how it reports, which tests it selects.
_OF_A_RUN = {
    "usepdb": False, "maxfail": 0, "dist": "no", "tx": [], "numprocesses": None, "distload": False, "xmlpath": None,
    "lf": False, "failedfirst": False, "newfirst": False, "cacheclear": False, "stepwise": False, "keyword": "",
    "markexpr": "",
}  # fmt: skip


def write_session(item: Any, scratch: ScratchFolder) -> None:
    """Write to a test's scratch folder how a new interpreter makes a session with this test."""
    config = item.config
    options = {name: value for name, value in vars(config.option).items() if _is_plain(value)}
    ini = config.inipath
    described = {
        "options": {
            **options,
            **{name: value for name, value in _OF_A_RUN.items() if name in options},
            "rootdir": str(config.rootpath),
            "inifilename": str(ini) if ini is not None else None,
        },
        "node": "::".join([str(item.path), *item.nodeid.split("::", 1)[1:]]),
        "worker": getattr(config, "workerinput", None),
        "coverage": coverage_options(),
    }
    scratch.session.write_text(json.dumps(described))


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


class SessionCopy:
    """The session of this interpreter."""

    def __init__(self) -> None:
        self._session: Any = None
        self._items: dict[str, Any] = {}

    def item(self, scratch: ScratchFolder, nodeid: str) -> Any:
        """Return the test that a scratch folder's file describes, once it has been collected here.

        Raises:
            LookupError: it is not found here.
        """
        if nodeid not in self._items:
            described = json.loads(scratch.session.read_text())
            if self._session is None:
                if described["coverage"] is not None:
                    start_coverage(described["coverage"])
                self._session = _new_session(described)
            found = self._session.perform_collect([described["node"]])
            if len(found) != 1:
                raise LookupError(f"a rank that is not forked from pytest's process does not find {nodeid}")
            self._items[nodeid] = found[0]
        return self._items[nodeid]


def _new_session(described: dict[str, Any]) -> Any:
    """Make a session as the file in the scratch folder says."""
    from _pytest.config import Config
    from _pytest.main import Session

    left_out = [word for name in _WITHOUT for word in ("-p", f"no:{name}")]
    config = Config.fromdictargs(described["options"], [*left_out, described["node"]])
    if described["worker"] is not None:
        config.workerinput = described["worker"]  # type: ignore[attr-defined]  # pytest-xdist's
    config._do_configure()
    session = Session.from_config(config)
    config.hook.pytest_sessionstart(session=session)
    return session
