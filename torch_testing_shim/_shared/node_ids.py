"""Names of tests: "Class.method", where the method's name may be anything that a parameter has put into it. Pure.

Dots and `::` of a parameter stand in names as those between classes and methods do. What begins with "test", as the
methods do that unittest takes for tests, is taken for the method, and all that follows for a part of its name. Where
pytest runs the tests, parameters follow in brackets, and a test may be a function, which has no class: "test_a[1.5]".
"""

from __future__ import annotations

import re

_METHOD = re.compile(r"(?:\.|::)(?=test)")


def _method(name: str) -> re.Match[str] | None:
    """The separator between class and method; None where the name has no class or no method."""
    return _METHOD.search(name.partition("[")[0])


def dotted(text: str) -> str:
    """The name of a test or a class that is given as "Class::method", "Outer.Inner::method" or "Class.method"."""
    method = _method(text)
    if method is None:
        words, bracket, parameters = text.partition("[")
        return words.replace("::", ".") + bracket + parameters
    return f"{text[: method.start()].replace('::', '.')}.{text[method.end() :]}"


def covers(name: str, test: str) -> bool:
    """True where `test` is what `name` names, with whatever parameters, or lies in the class that it names."""
    return test == name or test.startswith(f"{name}[" if _method(name) else (f"{name}[", f"{name}."))


def class_of(name: str) -> str:
    """The class of a test, "Outer.Inner"; the name itself, without parameters, where it is a class's or a function's,
    or a test's that does not begin so."""
    method = _method(name)
    return name.partition("[")[0] if method is None else name[: method.start()]


def class_and_method(test: str) -> tuple[str, str]:
    """The class of a test, "" for a function, and all that follows."""
    method = _method(test)
    if method is not None:
        return test[: method.start()], test[method.end() :]
    words, bracket, parameters = test.partition("[")
    owner, _, last = words.rpartition(".")
    return owner, last + bracket + parameters


def node_id(path: str, name: str) -> str:
    """Pytest's name for a test or a class of the file at `path`."""
    method = _method(name)
    if method is not None:
        return "::".join([path, *name[: method.start()].split("."), name[method.end() :]])
    words, bracket, parameters = name.partition("[")
    return "::".join([path, *words.split(".")]) + bracket + parameters


def is_name(text: str) -> bool:
    """True for what may be the name of a test or of a class."""
    return all(part.isidentifier() for part in class_of(text).split("."))


def is_line(name: str) -> bool:
    """True for a name that a text file can hold as one of its lines, and a command line as one of its words."""
    is_one_line = name.strip() == name and len(name.splitlines()) == 1
    return is_one_line and "\0" not in name and name.encode("utf-8", "ignore").decode() == name
