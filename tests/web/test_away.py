"""An archive that is away, damaged, and there again: told as such, and not with each request in the log."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.served import BEGIN, SECOND, Served, fill, iso

SPAN = {"from_": iso(BEGIN), "to": iso(BEGIN + 9 * SECOND)}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "rack.sqlite"


@pytest.fixture
def served(archive: Path) -> Iterator[Served]:
    served = Served(archive.parent, f"sqlite:///{archive}")
    yield served
    served.close()


def page(served: Served) -> tuple[int, dict[str, str]]:
    """What the page is answered that asks for a curve."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/api/history?pv=T:DOUBLE", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def is_away(served: Served, reason: str) -> None:
    for _ in range(5):
        for path in ("/data/getData.raw", "/data/getData.json", "/bpl/getMetadata"):
            answer = served.get(path, pv="T:DOUBLE", **SPAN)
            assert (answer.status, reason in answer.body.decode()) == (503, True)
        status, told = page(served)
        assert (status, reason in told["error"]) == (503, True)
    assert served.log.read_text().count(reason) == 1


def test_an_archive_that_is_away_is_503_until_it_is_there(served: Served, archive: Path) -> None:
    is_away(served, "this file does not exist")
    fill(served.database)
    assert served.get("/data/getData.json", pv="T:DOUBLE", **SPAN).status == 200
    assert page(served)[0] == 200
    for each in archive.parent.glob("rack.sqlite*"):
        each.rename(archive.parent / f"away-{each.name}")
    archive.write_bytes(b"no database" * 1000)
    is_away(served, "file is not a database")
    archive.unlink()
    for each in archive.parent.glob("away-*"):
        each.rename(archive.parent / each.name.removeprefix("away-"))
    assert served.get("/data/getData.json", pv="T:DOUBLE", **SPAN).status == 200
    assert page(served)[0] == 200
