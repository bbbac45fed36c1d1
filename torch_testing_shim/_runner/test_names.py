"""Names of tests: "Class.method", where the method's name may be anything that a parameter has put into it. Pure.

Dots and `::` of a parameter stand in names as those between classes and methods do. What begins with "test", as the
methods do that unittest takes for tests, is taken for the method, and all that follows for a part of its name.
"""

from __future__ import annotations

import re

__all__ = ["class_of", "covers", "dotted", "is_line", "is_name"]

_METHOD = re.compile(r"(?:\.|::)(?=test)")


def dotted(text: str) -> str:
    """The name of a test or a class that is given as "Class::method", "Outer.Inner::method" or "Class.method"."""
    method = _METHOD.search(text)
    if method is None:
        return text.replace("::", ".")
    return f"{text[: method.start()].replace('::', '.')}.{text[method.end() :]}"


def covers(name: str, test: str) -> bool:
    """True where `test` is what `name` names, or lies in the class that it names."""
    return test == name or (_METHOD.search(name) is None and test.startswith(f"{name}."))


def class_of(name: str) -> str:
    """The class of a test, "Outer.Inner"; the name itself where it is a class's, or a test's that does not begin so."""
    method = _METHOD.search(name)
    return name if method is None else name[: method.start()]


def is_name(text: str) -> bool:
    """True for what may be the name of a test or of a class."""
    return all(part.isidentifier() for part in class_of(text).split("."))


def is_line(name: str) -> bool:
    """True for a name that a text file can hold as one of its lines, and a command line as one of its words."""
    is_one_line = name.strip() == name and len(name.splitlines()) == 1
    return is_one_line and "\0" not in name and name.encode("utf-8", "ignore").decode() == name
