"""What torch's own class has besides, of which this package has written a class of the same name: torch's, on ours.

`TestCase` looks up here what it and its bases lack. What a process does is never taken over: a class that starts
processes or judges them does not say `rest_is_torchs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch_testing_shim._upstream.graft import bound_names, graft_of, locked

__all__ = ["torchs_attribute", "torchs_class"]

__unittest = True  # unittest and pytest leave this file's frames out of tracebacks


def torchs_attribute(instance: object, name: str) -> Any:
    """What torch's own class has by this name that a class of ours among those of `instance` stands for, on `instance`.

    Asked are classes of faces whose body says `rest_is_torchs = True`, or names the class that an older torch has
    instead (`rest_is_torchs = "DTensorTestBase"`). Where torch's has the name, ours gets all that
    the instance lacks, since the methods use one another.

    Raises:
        AttributeError: none of them has it.
    """
    classes = type(instance).__mro__
    if any(name in vars(each) for each in classes):  # a property that raises an error of this kind
        return object.__getattribute__(instance, name)
    owners = [each for each in classes if "rest_is_torchs" in vars(each) and not name.startswith("__")]
    with locked():
        for owner in owners:
            graft = graft_of(owner.__module__)
            if graft.defines_in(_name_in_torch(owner), name):
                for each, value in graft.made_aside(_name_in_torch(owner)).items():
                    if not hasattr(type(instance), each):
                        setattr(owner, each, value)
                return object.__getattribute__(instance, name)
    raise AttributeError(f"{type(instance).__name__!r} object has no attribute {name!r}")


def torchs_class(ours: type) -> Mapping[str, Any]:
    """What torch's own class has that a class of a face stands for."""
    with locked():
        return graft_of(ours.__module__).made_aside(_name_in_torch(ours))


def _name_in_torch(ours: type) -> str:
    """The class of torch's that one of ours stands for."""
    older = vars(ours)["rest_is_torchs"]
    return ours.__name__ if older is True or ours.__name__ in bound_names(ours.__module__) else str(older)
