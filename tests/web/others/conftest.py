"""A rack whose web server may be put to, for what others put in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.system.conftest import Ioc, Racks, racks
from tests.web.live.conftest import logins_file
from tests.web.served import start_rack

__all__ = ["logins_file", "racks"]


class Rack(NamedTuple):
    """A rack with its web server's port."""

    ioc: Ioc
    port: int


@pytest.fixture(scope="module")
def rack(racks: Racks, logins_file: Path) -> Rack:
    return Rack(*start_rack(racks, logins_file))
