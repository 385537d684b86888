"""Plans of bluesky: a count, a scan that waits for put completion, and refusals that end a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.client import Client
from tests.clients.peer import Peer, PeerError
from tests.system.conftest import Ioc

SETPOINT = "HV1:S02:C00:V0Set"


@pytest.fixture(scope="module")
def bluesky(start: Callable[[str], Peer]) -> Peer:
    return start("bluesky")


def test_a_count_has_an_event_for_each_reading(rack: Ioc, bluesky: Peer) -> None:
    status, *values = bluesky.ask("count", rack("HV1:S02:C00:VMon"), 3)
    assert status == "success"
    assert len(values) == 3
    assert all(isinstance(value, float) for value in values)


def test_each_point_of_a_scan_is_read_back_when_its_put_completes(rack: Ioc, bluesky: Peer) -> None:
    assert bluesky.ask("scan", rack(SETPOINT), 10, 50, 5) == ["success", 10, 20, 30, 40, 50]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        # checked before it is sent
        ({"limits": True, "put_complete": True}, "LimitError"),
        # sent, and the readback does not come there
        ({"write_timeout": 1.0}, "FailedStatus"),
    ],
)
def test_a_refused_move_ends_the_plan(
    rack: Ioc, bluesky: Peer, ca: Client, options: dict[str, Any], error: str
) -> None:
    bluesky.ask("move", rack(SETPOINT), 20, options)
    with pytest.raises(PeerError, match=error):
        bluesky.ask("move", rack(SETPOINT), 1e6, options)
    assert float(ca.get(rack(f"{SETPOINT}_RBV"))) == 20
    bluesky.ask("move", rack(SETPOINT), 30, options)
    assert float(ca.get(rack(f"{SETPOINT}_RBV"))) == 30


def test_put_completion_alone_does_not_tell_a_plan_that_a_put_was_refused(
    rack: Ioc, bluesky: Peer, ca: Client
) -> None:
    bluesky.ask("move", rack(SETPOINT), 20, {"put_complete": True})
    bluesky.ask("move", rack(SETPOINT), 1e6, {"put_complete": True})
    assert (float(ca.get(rack(SETPOINT))), ca.severity(rack(SETPOINT)), ca.status(rack(SETPOINT))) == (
        20,
        "MINOR",
        "WRITE",
    )
