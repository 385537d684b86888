"""The instruments of a campaign, as they stand in a configuration file."""

from __future__ import annotations

from typing import Any

from tests.system.conftest import CRATE, GENERATOR, LOGGER

# Driver -> the name of its instrument, and the keys
INSTRUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "technix": ("GEN", GENERATOR),
    "caen": ("HV1", {**CRATE, "channels": {2: [0, 1, 2], 4: [0, 1], 8: [1, 2]}}),
    "se521": ("TC1", LOGGER),
}
# PVs from which to see that an instrument is well, the settings of each board among them
VITAL = {
    "technix": ("Status", "VMon"),
    "caen": ("S02:C00:Status", *(f"{channel}:V0Set_RBV" for channel in ("S02:C01", "S04:C00", "S08:C01"))),
    "se521": ("T2:Open",),
}
# Seconds for an instrument to be well again, and for which it then has to stay so: what should follow a fault at once
# has that long to fail
HEAL = 45.0
REST = {"technix": 1.5, "caen": 5.0, "se521": 2.5}
