"""An instrument around a driver that a test holds in its hand."""

from __future__ import annotations

import asyncio

import pytest

from drivers.base import LinkDown
from ioc.site import Site
from tests.ioc.bench import Bench, Run, Scenario, running


@pytest.fixture
def run() -> Run:
    """Run a scenario, an async function of a rig, with a fresh instrument."""

    def go(scenario: Scenario, driver: Bench | None = None, site: Site | None = None) -> None:
        async def main() -> None:
            async with running(driver, site) as rig:
                await scenario(rig)

        asyncio.run(main())

    return go


@pytest.fixture
def bench() -> Bench:
    """A driver whose behaviour a test sets before the start."""
    return Bench()


@pytest.fixture
def down() -> LinkDown:
    """The link is down, in words."""
    return LinkDown("the cable is out")
