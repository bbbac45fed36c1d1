"""Logs of collectives as ranks write them, for the tests of what is made of them."""

from torch_testing_shim._engine.collectives import Entered, GroupHeader


def log_of(rank, world_size, *entered, first=1, name="0", description="default_pg", generation=1, members=None):
    """The result of `read_log` for a rank that has entered these with one group, or nothing at all.

    Args:
        entered: `Entered`, or a text for one that has no more than a name and shapes: "all_reduce [3]".
        first: the number of the first of them.
    """
    if not entered:
        return ""
    header = GroupHeader(name, description, generation, rank, tuple(members or range(world_size)))
    lines = [_line(number, _entered(one)) for number, one in enumerate(entered, first)]
    return "".join([header.to_line().decode(), *lines])


def _entered(one):
    if isinstance(one, Entered):
        return one
    name, _, shapes = one.partition(" ")
    return Entered(name, shapes=shapes, checksum=shapes)


def _line(number, entered):
    fields = (number, entered.checksum, entered.name, entered.details, entered.types, entered.shapes)
    return "\t".join(map(str, fields)) + "  \n"
