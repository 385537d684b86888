"""The racks of which files are made: the demo, and what its PVs are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rackioc import listing
from rackioc.config.load import load
from sim.rack import Rack as Fakes

if TYPE_CHECKING:
    from exports.rack import Rack


DESKTOP = """\
prefix: "LAB:"
instruments:
  HV1: {driver: caen, system: N1470, link: USB_VCP, host: ttyACM0, username: u, password: p}
"""


@pytest.fixture(scope="session")
def demo() -> Rack:
    """The PVs of the demo rack, its crate asked over the wire."""
    return asked(Path(str(files("sim") / "demo.yaml")))


@pytest.fixture(scope="session")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Rack:
    """The PVs of a desktop unit: its parameters have other names than those of a crate."""
    path = tmp_path_factory.mktemp("desktop") / "rack.yaml"
    path.write_text(DESKTOP)
    return asked(path)


def asked(path: Path) -> Rack:
    """Return the PVs of a configuration with a crate ``HV1`` that is simulated."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RACKIOC_RUNTIME", "/run/user/1000/rackioc")
        environment.setenv("RACKIOC_WEB_PORT", "8080")
        config = load(path)
    with Fakes({"HV1": config.raw["HV1"]}):
        rack, silent = listing.rack(config)
    assert silent == []
    return rack
