"""The fixtures of tests on ranks; `agreed`, which needs a public module, is in `pytest_plugin`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

    from torch_testing_shim._pytest_ranks.in_rank import World


def _world(request: Any) -> World:
    """Return the world of the test's ranks."""
    if request.node.get_closest_marker("ranks") is None:
        pytest.fail(f"the fixture {request.fixturename!r} needs @pytest.mark.ranks(N) above the test", pytrace=False)
    from torch_testing_shim._pytest_ranks.in_rank import HERE  # here, since it imports torch

    if HERE.world is None:
        pytest.fail(
            f"{request.fixturename!r} has no value where ranks are threads, except as an argument of the test itself",
            pytrace=False,
        )
    return HERE.world


@pytest.fixture
def rank(request: pytest.FixtureRequest) -> int:
    """This rank of a test marked by `ranks`."""
    return _world(request).rank


@pytest.fixture
def world_size(request: pytest.FixtureRequest) -> int:
    """The number of ranks of a test marked by `ranks`."""
    return _world(request).world_size


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """This rank's device: an accelerator where each rank has one or may share one, else the CPU."""
    world = _world(request)
    from torch_testing_shim._engine.devices import bind_rank, device_in_use

    return bind_rank(world.rank, None if device_in_use().has_room_for(world.world_size) else "cpu")


@pytest.fixture
def process_group(request: pytest.FixtureRequest, device: torch.device) -> Iterator[dist.ProcessGroup]:
    """The default process group of all ranks, set up for this rank's device, destroyed when the test is over."""
    world = _world(request)
    from torch_testing_shim._pytest_ranks.groups import rank_group

    with rank_group(world, device) as group:
        yield group


@pytest.fixture
def device_mesh(process_group: dist.ProcessGroup, device: torch.device, world_size: int) -> Any:
    """A mesh of one dimension of all ranks' devices."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device.type, (world_size,))


@pytest.fixture
def shared_tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder for all ranks; `tmp_path` is each rank's own."""
    folder = _world(request).shared_folder
    return Path(folder) if folder is not None else tmp_path_factory.mktemp("shared")
