"""Fixtures: an API server for the plans of a module, with operators in haste."""

from collections.abc import AsyncIterator

import pytest

from reliability.world import World, world


@pytest.fixture(scope="module")
async def it() -> AsyncIterator[World]:
    """What plans share."""
    async with world() as opened:
        yield opened
