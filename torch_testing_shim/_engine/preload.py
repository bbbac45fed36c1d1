"""Chooses the modules that the zygote imports ahead, since the tests would import them lazily in every rank.

The first optimizer of a process imports `torch._dynamo`, which costs more than the rest of a small test. Whether tests
use one is read off the names in their code; a wrong guess costs time, never an outcome.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from types import CodeType, FunctionType, ModuleType

#: A name that test code uses -> the module that torch imports when the code runs.
LAZY_IMPORTS = {"assert_close": "torch.distributed.tensor"} | dict.fromkeys(
    (
        *("optim", "Optimizer", "Adam", "AdamW", "SGD", "compile", "checkpoint", "fully_shard", "distribute_tensor"),
        *("inject", "record_communication"),  # by the dispatch mode below them
        *("parallelize", "parallelize_module", "_test_fsdp_parity", "_train_for_several_steps"),
    ),
    "torch._dynamo",
)
#: A module that is imported already -> the module that the harness itself imports in every rank because of it: numpy's
#: generator, which numpy imports when it is seeded.
FOLLOWING_IMPORTS: dict[str, str] = {"numpy": "numpy.random"}


def modules_to_preload(names: Iterable[str], imported: Container[str] = ()) -> tuple[str, ...]:
    """Return the modules to import ahead for the names that the tests' code uses, and for the modules that are
    imported already; each once, in a fixed order."""
    wanted = {LAZY_IMPORTS[name] for name in names if name in LAZY_IMPORTS}
    following = {follower for module, follower in FOLLOWING_IMPORTS.items() if module in imported}
    return tuple(sorted(wanted | following))


def names_in_module(module: ModuleType) -> set[str]:
    """Return the global and attribute names that the functions and classes defined in `module` use."""
    seen: set[int] = set()
    own = [value for value in vars(module).values() if getattr(value, "__module__", None) == module.__name__]
    return {name for value in own for code in _codes(value, seen) for name in code.co_names}


def names_in_code(code: CodeType) -> set[str]:
    """Return the global and attribute names that a compiled file uses, in its functions and classes too."""
    return {name for one in _nested(code) for name in one.co_names}


def _codes(value: object, seen: set[int]) -> Iterator[CodeType]:
    """Yield the code of a function or a class, with nested code and what decorators wrapped; none of anything else.
    Classes in `seen`, by id, were visited: they may hold each other, as a `torch.autograd.Function` and its backward
    class do."""
    if isinstance(value, type):
        if id(value) not in seen:
            seen.add(id(value))
            for member in vars(value).values():
                yield from _codes(member, seen)
    elif isinstance(value, property):
        for accessor in (value.fget, value.fset):
            yield from _codes(accessor, seen)
    elif isinstance(value, (classmethod, staticmethod)):
        yield from _codes(value.__func__, seen)
    elif isinstance(value, FunctionType):
        yield from _nested(value.__code__)
        yield from _codes(getattr(value, "__wrapped__", None), seen)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
