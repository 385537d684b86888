"""The setpoints of a Technix generator, which cannot be read from it: what is known of them, and since when not."""

from __future__ import annotations

from drivers.base import Reading, Severity, Status, Value
from drivers.technix.config import TechnixConfig
from drivers.technix.points import Scale

# Point -> the command that sets it
COMMANDS = {"VSet": "d1", "ISet": "d2"}

_UNKNOWN = Reading(None, Severity.INVALID, Status.UDF)


class Setpoints:
    """The setpoints in counts, as they were put over this connection.

    scales  VSet, ISet -> range and unit
    """

    def __init__(self, config: TechnixConfig) -> None:
        full_scale, limits = config.full_scale, config.limits
        self.scales = {
            "VSet": Scale(full_scale.voltage_kv, limits.voltage_kv or full_scale.voltage_kv, "kV"),
            "ISet": Scale(full_scale.current_ma, limits.current_ma or full_scale.current_ma, "mA"),
        }
        self._counts: dict[str, int] = {}
        self._unknown_since = dict.fromkeys(COMMANDS, "the start")

    def store(self, name: str, counts: int) -> None:
        """Note what the generator took."""
        self._counts[name] = counts

    def forget(self, name: str, why: str) -> None:
        """Make a setpoint unknown until it is put again; ``why`` goes on after "unknown since"."""
        self._counts.pop(name, None)
        self._unknown_since[name] = why

    def forget_all(self, why: str) -> None:
        """Make those unknown that are known; the others stay unknown since what made them so."""
        for name in tuple(self._counts):
            self.forget(name, why)

    def readings(self) -> dict[str, Value | Reading]:
        """Return the readbacks (kV, mA)."""
        return {
            f"{name}_RBV": scale.value(self._counts[name]) if name in self._counts else _UNKNOWN
            for name, scale in self.scales.items()
        }

    def obstacles(self) -> list[str]:
        """Return why HV must not go on: a setpoint that has a limit, or both, may be anything in the generator."""
        unknown = {name: why for name, why in self._unknown_since.items() if name not in self._counts}
        obstacles = []
        for name, since in unknown.items():
            if self.scales[name].limited:
                obstacles.append(f"{name} is unknown since {since}, and may be above its limit: put {name} first")
        if not obstacles and len(unknown) == len(COMMANDS):
            since = unknown["VSet"]
            obstacles.append(f"VSet and ISet are unknown since {since}: put VSet or ISet first")
        return obstacles
