"""pytest's session in a new interpreter: the same options, one test.

It is needed where ranks cannot be forked from pytest's process: in a worker of pytest-xdist, which has threads, or
beside an accelerator that runs there. Fixtures are made anew in each rank then, whatever their scope.
"""

from __future__ import annotations

import json
from typing import Any

from torch_testing_shim._engine.job import ScratchFolder

#: Plugins that a copy has no use for: they report, start processes, or run tests again.
_WITHOUT = ("terminal", "pytest_cov", "rerunfailures", "forked", "cacheprovider", "junitxml")
#: Options of pytest, pytest-xdist and others that are for the whole run.
_OF_A_RUN = {"usepdb": False, "maxfail": 0, "dist": "no", "tx": [], "numprocesses": None, "distload": False}


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
    }
    scratch.session.write_text(json.dumps(described))


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def copied_session(scratch: ScratchFolder, nodeid: str) -> Any:
    """Make a session as the file in the scratch folder says, and collect its test."""
    described = json.loads(scratch.session.read_text())
    from _pytest.config import Config
    from _pytest.main import Session

    left_out = [word for name in _WITHOUT for word in ("-p", f"no:{name}")]
    config = Config.fromdictargs(described["options"], [*left_out, described["node"]])
    if described["worker"] is not None:
        config.workerinput = described["worker"]  # type: ignore[attr-defined]  # pytest-xdist's
    config._do_configure()
    session = Session.from_config(config)
    config.hook.pytest_sessionstart(session=session)
    session.perform_collect()
    item: Any
    for item in session.items:  # a worker of pytest-xdist may have given the test another name
        item._nodeid = nodeid
    return session
