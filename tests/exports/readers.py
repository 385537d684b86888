"""Small models of the programs that read the lists of PVs, written from their public code."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

# Archiver Appliance, PVNames.java
CHANNEL_NAME = re.compile(r"[a-zA-Z0-9_\-+:\[\]<>;/,#{}^]+")
# Phoebus, archive_config.xsd
PERIOD = re.compile(r"[0-9]+(\.[0-9]*)?|[0-9][0-9]:[0-9][0-9]:[0-9][0-9]")


@dataclass
class Appliance:
    """What the appliance makes of a request (ArchivePVAction.java): PV -> method and period."""

    requests: dict[str, tuple[str, float]] = field(default_factory=dict)
    already: list[str] = field(default_factory=list)

    def post(self, body: str) -> None:
        """Take the body of a request. Raises AssertionError or KeyError where the real one fails."""
        for entry in json.loads(body):
            assert all(isinstance(value, str) for value in entry.values())  # cast to String
            name = entry["pv"]
            assert CHANNEL_NAME.fullmatch(name)
            method = entry.get("samplingmethod", "MONITOR")
            assert method in {"SCAN", "MONITOR"}
            if name in self.requests:
                self.already.append(name)
            self.requests[name] = method, float(entry["samplingperiod"])


@dataclass
class Engine:
    """What the archive engine imports (XMLConfig.java, archive_config.xsd): group -> PV -> monitored?, period."""

    groups: dict[str, dict[str, tuple[bool, float]]] = field(default_factory=dict)

    def load(self, text: str) -> None:
        """Read a configuration. Raises AssertionError where the schema does not hold."""
        root = ElementTree.fromstring(text)
        assert root.tag == "engineconfig"
        assert [each.tag for each in root] == ["group"] * len(root) != []
        for group in root:
            assert [each.tag for each in group] == ["name"] + ["channel"] * (len(group) - 1)
            name = group.findtext("name")
            assert name
            assert name not in self.groups
            channels = self.groups[name] = {}
            for channel in group.findall("channel"):
                tags = [each.tag for each in channel]
                assert set(tags) <= {"name", "period", "scan", "monitor", "delta", "enable"}
                assert len(tags) == len(set(tags))
                assert len({"scan", "monitor"} & set(tags)) == 1
                period = channel.findtext("period", "60.0")
                assert PERIOD.fullmatch(period)
                pv = channel.findtext("name")
                assert pv
                assert pv not in channels
                channels[pv] = channel.find("monitor") is not None, float(period)


@dataclass
class SaveSet:
    """What save-and-restore reads of a CSV (CSVParser.java). entries: column -> text, row by row."""

    name: str = ""
    description: str = ""
    columns: list[str] = field(default_factory=list)
    entries: list[dict[str, str]] = field(default_factory=list)

    def load(self, text: str) -> None:
        """Read a file. Raises ValueError where the real one fails."""
        lines = text.splitlines()
        while lines:
            line = lines.pop(0)
            if line == "# SaveSet name:":
                self.name = _plain(lines.pop(0))
            elif line == "# Description:":
                while lines[0].startswith("#"):
                    self.description += _plain(lines.pop(0)) + "\n"
            elif not line.startswith("#"):
                self._row(line)

    def _row(self, line: str) -> None:
        if not self.columns:
            self.columns = line.split(",")
            return
        if line.count('"') % 2:
            raise ValueError("Odd number of quotation marks!")
        quoted = re.findall(r'"([^"]*)"', line)
        # Java drops empty columns at the end
        cells = re.sub(r'"[^"]*"', "\0", line).rstrip(",").split(",")
        entry = [quoted.pop(0) if cell == "\0" else cell for cell in cells]
        self.entries.append(dict(zip(self.columns, entry, strict=True)))


def _plain(line: str) -> str:
    return line.removeprefix("#").strip()
