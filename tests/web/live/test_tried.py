"""What somebody tries who means harm, or whose program is wrong."""

from __future__ import annotations

import re
import socket
import struct
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from drivers.base import Point, RecordType
from tests.small_ioc import SmallIoc, until
from tests.web.live.conftest import Browser, WebServer, served
from tests.web.live.test_access import ask, me, own_web, session
from web.access.logins import Logins, LoginsError, line
from web.live import door, hub

__all__ = ["own_web"]


@pytest.mark.parametrize(
    "name", ["X\n2026-11-27 12:50:42 INFO web.puts: anna at 192.168.1.7 put 0 to {}ao", "{}ao" + "x" * 9000]
)
def test_nobody_can_write_lines_into_the_log_of_puts(
    small_ioc: SmallIoc, web: WebServer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with Browser(web) as browser, Browser(web, {"Cookie": session(web, "anna")}) as anna:
        for each in (browser, anna):
            assert each.write(name.format(small_ioc.prefix), 5) != ""
    told = [each.getMessage() for each in caplog.records if each.name == "web.puts"]
    assert told
    assert all(len(each) < 700 and "\n" not in each for each in told)


def test_strangers_cannot_fill_the_log(small_ioc: SmallIoc, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    with Browser(web) as browser:
        for _ in range(100):
            browser.write(small_ioc.prefix + "ao", 5)
    with Browser(web, {"Cookie": session(web, "bob")}) as bob:
        bob.write(small_ioc.prefix + "ao", 5)
    told = [each.getMessage() for each in caplog.records if each.name == "web.puts"]
    assert len([each for each in told if "not logged in" in each]) <= door.STRANGERS
    assert len([each for each in told if each.startswith("bob")]) == 1


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"subscribe","pvs":["\\ud800"]}',
        '{"type":"clear","pvs":["\\uDFFF"]}',
        '{"type":"write","pv":"\\udc00","value":1,"id":7}',
        '{"type":"write","pv":"%stext","value":"\\ud800","id":7}',
    ],
)
def test_half_a_character_harms_nobody(small_ioc: SmallIoc, web: WebServer, message: str) -> None:
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        browser.socket.send(message.replace("%s", small_ioc.prefix))
        assert "half of a pair" in browser.error()
        browser.subscribe(small_ioc.prefix + "\U0001f600")
        assert browser.write(small_ioc.prefix + "text", "whole") == ""
        small_ioc.read("ai", 5.0)
        browser.subscribe(small_ioc.prefix + "ai")
        browser.value(small_ioc.prefix + "ai", 5.0)


HUGE = "1" + "0" * 400


@pytest.mark.parametrize("record", ["ao", "bo", "text", "wave"])
@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "1" + "0" * 400, "[1" + "0" * 400 + "]", "[1e999]", '"\u00b2"', "true", "{}", "[]"]
)
def test_each_value_is_answered(small_ioc: SmallIoc, web: WebServer, record: str, value: str) -> None:
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        browser.socket.send(f'{{"type":"write","pv":"{small_ioc.prefix}{record}","value":{value},"id":7}}')
        assert browser.hear_until(lambda message: message.get("id") == 7)
        assert browser.write(small_ioc.prefix + "ao", 5) == ""


def test_fields_that_nobody_has_are_searched_for_in_a_bounded_number(small_ioc: SmallIoc, browser: Browser) -> None:
    browser.subscribe(*(f"{small_ioc.prefix}ao.X{number}" for number in range(hub.MOST_SEARCHED + 10)))
    assert "other names" in browser.error()
    browser.subscribe(*(f"{small_ioc.prefix}ao{field}" for field in ("", ".VAL", ".DESC", ".AMSG")))
    browser.first(small_ioc.prefix + "ao.DESC")


def test_where_a_login_is_wanted_values_end_with_it(
    small_ioc: SmallIoc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.pvws.RIGHTS_S", 0.1)
    path = tmp_path / "logins"
    entry = line("anna", "right horse", "put")
    path.write_text(line("bob", "wrong horse", "view") + "\n" + entry + "\n")
    web = WebServer(served(small_ioc.prefix, path, view="login"))
    try:
        small_ioc.read("ai", 5.0)
        with (
            Browser(web, {"Cookie": session(web, "bob")}) as bob,
            Browser(web, {"Cookie": session(web, "anna")}) as anna,
        ):
            for each in (bob, anna):
                each.subscribe(small_ioc.prefix + "ai")
                each.value(small_ioc.prefix + "ai", 5.0)
            path.write_text(entry + "\n")
            with pytest.raises(ConnectionClosed, match="1008"):
                bob.hear_until(lambda message: False)
            small_ioc.read("ai", 6.0)
            anna.value(small_ioc.prefix + "ai", 6.0)
    finally:
        web.close()


def test_what_is_shown_of_rights_ends_with_the_session_and_with_the_login(
    small_ioc: SmallIoc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.pvws.RIGHTS_S", 0.1)
    path = tmp_path / "logins"
    entry = line("anna", "right horse", "put")
    path.write_text(entry + "\n")
    web = WebServer(served(small_ioc.prefix, path, puts="on"))
    name = small_ioc.prefix + "ao"
    try:
        small_ioc.read("ao", 5.0)
        cookie = session(web, "anna")
        with Browser(web, {"Cookie": cookie}) as anna:
            anna.subscribe(name, small_ioc.prefix + "nowhere")
            assert anna.first(name)["readonly"] is False
            path.write_text(entry.replace(":put:", ":view:") + "\n")
            assert anna.hear_until(lambda message: message.get("readonly") is True)["pv"] == name
            path.write_text(entry + "\n\n")
            assert anna.hear_until(lambda message: message.get("readonly") is False)["pv"] == name
            assert ask(web, "POST", "/api/logout", Cookie=cookie, X_CSRF_Token=me(web, cookie)["csrf"])[0] == 200
            assert anna.hear_until(lambda message: message.get("readonly") is True)["pv"] == name
            assert "nowhere" not in str(anna.heard)
    finally:
        web.close()


def test_a_session_ends_with_the_password_that_it_was_begun_with(small_ioc: SmallIoc, tmp_path: Path) -> None:
    path = tmp_path / "logins"
    path.write_text(line("anna", "right horse", "put") + "\n")
    web = WebServer(served(small_ioc.prefix, path, puts="on"))
    before = list(small_ioc.puts)
    try:
        cookie = session(web, "anna")
        with Browser(web, {"Cookie": cookie}) as thief:
            path.write_text(line("anna", "another horse", "put") + "\n")
            assert "log in first" in thief.write(small_ioc.prefix + "ao", 5)
        assert me(web, cookie)["name"] == ""
        assert small_ioc.puts == before
        assert me(web, session(web, "anna", "another horse"))["name"] == "anna"
    finally:
        web.close()


def test_one_address_has_a_bounded_number_of_web_sockets(
    small_ioc: SmallIoc, own_web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live.pvws.MOST_OF_ONE", 3)
    small_ioc.read("ai", 5.0)
    with Browser(own_web), Browser(own_web), Browser(own_web) as last:
        with Browser(own_web) as one_more:
            assert "close some pages" in one_more.error()
            with pytest.raises(ConnectionClosed, match="1013"):
                one_more.hear()
        with Browser(own_web, {"X-Forwarded-For": "198.51.100.7"}) as other:
            for each in (other, last):
                each.subscribe(small_ioc.prefix + "ai")
                each.value(small_ioc.prefix + "ai", 5.0)

    def again() -> bool:
        with Browser(own_web) as browser:
            browser.say(type="echo")
            return bool(browser.hear()["type"] == "echo")

    until(again)


def test_who_ends_amid_a_burst_leaves_nothing_in_the_log(logins_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    ioc = SmallIoc([Point(name=f"w{i}", rtyp=RecordType.waveform, nelm=4000) for i in range(20)])
    names = [record.name for record in ioc.records.values()]
    for each in ioc.records:
        ioc.read(each, (1.5,) * 4000)
    web = WebServer(served(ioc.prefix, logins_file))
    try:
        with Browser(web, max_size=None) as stays:
            stays.subscribe(*names)
            coming = set(names)
            while coming:  # in whatever order
                coming.discard(str(stays.hear(20.0).get("pv")))
            for _ in range(5):
                ends = Browser(web)
                ends.subscribe(*names)
                ends.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                ends.socket.socket.close()
            stays.say(type="list")
            stays.hear_until(lambda message: message["type"] == "list")
    finally:
        web.close()
        ioc.close()
    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []


@pytest.mark.parametrize("stays", [True, False])
def test_a_body_that_ends_too_early_leaves_no_traceback_in_the_log(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stays: bool
) -> None:
    monkeypatch.setattr("web.access.middleware._PATIENCE", 0.3)
    head = b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", web.port), 10) as raw:
            raw.sendall(head)
            assert not stays or raw.recv(4096).startswith(b"HTTP/1.1 408")
    assert ask(web, "GET", "/ping")[0] == 200
    assert [each.getMessage() for each in caplog.records if each.exc_info] == []


_UPGRADE = (
    b"%s /pvws/pv%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n%s\r\n"
)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(_UPGRADE % (b"GET", b"", b"Content-Length: 10\r\n"), 400, id="body"),
        pytest.param(_UPGRADE % (b"GET", b"", b"Transfer-Encoding: chunked\r\n"), 400, id="chunks"),
        pytest.param(_UPGRADE % (b"POST", b"", b"Content-Length: 10\r\n"), 400, id="method"),
        pytest.param(_UPGRADE % (b"GET", b"?" + b"a" * 9000, b""), 414, id="long-address"),
        pytest.param(_UPGRADE % (b"GET", b"", b"Cookie: a=%s\r\n" % (b"x" * 9000)), 431, id="long-header"),
        pytest.param(_UPGRADE % (b"GET", b"", b"".join(b"X%d: y\r\n" % n for n in range(130))), 431, id="headers"),
    ],
)
def test_a_request_for_a_web_socket_that_is_none_is_answered_and_its_connection_ended(
    web: WebServer, caplog: pytest.LogCaptureFixture, request_: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 5) as raw, raw.makefile("rb") as answer:
        raw.sendall(request_)
        assert answer.read().startswith(b"HTTP/1.1 %d " % status)
    assert caplog.records == []


@pytest.mark.parametrize("path", [b"/api/login", b"/nowhere", b"/retrieval/data/getDataAtTime"])
@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_a_malformed_request_costs_no_traceback(
    web: WebServer, caplog: pytest.LogCaptureFixture, path: bytes, pause: float
) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", web.port), 5) as raw, raw.makefile("rb") as answer:
            raw.sendall(head % path + (b"" if pause else b"zz\r\n"))
            time.sleep(pause)
            if pause:
                raw.sendall(b"zz\r\n")
            assert answer.readline().startswith(b"HTTP/1.1 4")
    assert ask(web, "GET", "/ping")[0] == 200
    assert [each.getMessage() for each in caplog.records if each.exc_info or each.levelname == "ERROR"] == []
    assert len(caplog.records) <= 1


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"]
)
def test_malformed_requests_are_counted_in_one_line_a_minute(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    def ask_so() -> None:
        with socket.create_connection(("127.0.0.1", web.port), 5) as raw:
            raw.sendall(request_)
            assert raw.recv(4096).startswith(b"HTTP/1.1 ")

    for _ in range(10):
        ask_so()
    assert len(caplog.records) <= 1
    monkeypatch.setattr("web.server.SELDOM_S", 0.0)
    ask_so()
    counted = re.search(r"\((\d+) times since this was last written\)", caplog.records[-1].getMessage())
    assert counted is not None
    assert int(counted[1]) >= 10


def test_a_body_that_drips_is_given_up(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.access.middleware._PATIENCE", 2.0)
    monkeypatch.setattr("web.access.middleware._WHOLE", 1.0)
    with socket.create_connection(("127.0.0.1", web.port), 10) as raw:
        raw.sendall(
            b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"
        )
        raw.settimeout(0.1)
        began = time.monotonic()
        ended = False
        while not ended and time.monotonic() - began < 15:
            try:
                raw.sendall(b" ")
                ended = not raw.recv(4096).startswith(b"HTTP/1.1 2")
            except TimeoutError:
                pass
            except OSError:
                ended = True
        assert ended
    assert ask(web, "GET", "/ping")[0] == 200


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_body_that_does_not_end_is_answered_and_given_up(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, connection: str
) -> None:
    monkeypatch.setattr("web.access.middleware._WHOLE", 1.0)
    monkeypatch.setattr("web.server.REQUEST_S", 1.0)
    head = f"POST /api/login HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Type: application/json"
    with socket.create_connection(("127.0.0.1", web.port), 10) as raw:
        raw.sendall(f"{head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        began = time.monotonic()
        raw.sendall(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")
        ended = False
        while not ended and time.monotonic() - began < 15:
            time.sleep(0.01)
            try:
                raw.sendall(b"1\r\n \r\n")
            except ConnectionError:
                ended = True
        assert ended
    assert ask(web, "GET", "/ping")[0] == 200


def test_a_file_of_logins_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "logins"
    path.write_text(line("anna", "first password", "put") + "\n")
    path.chmod(0o602)
    with pytest.raises(LoginsError, match="chmod 600"):
        Logins(path)
    path.chmod(0o600)
    known = Logins(path)
    path.chmod(0o666)
    path.write_text(path.read_text() + line("eve", "other password!", "put") + "\n")
    assert known.rights("eve") == ""
    assert known.rights("anna") == "put"


def test_who_can_read_the_file_of_logins_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "logins"
    path.write_text(line("anna", "first password", "put") + "\n")
    path.chmod(0o640)
    Logins(path)
    assert not caplog.messages
    path.chmod(0o644)
    Logins(path)
    assert "chmod 600" in caplog.text
