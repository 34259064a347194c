"""One node for all examples; they take turns on its port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from tests.examples.running import example_node
from tests.live import LiveNode


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> AsyncIterator[LiveNode]:
    """A node whose calls go to the example that `running_example` runs."""
    async with example_node(tmp_path_factory.mktemp("state"), free_port()) as node:
        yield node
