"""Who may see and put: logins, sessions, other sites, and what a stranger may try."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.small_ioc import SmallIoc, until
from tests.web.live.conftest import PASSWORDS, Browser, WebServer, served
from web.access import throttle
from web.access.logins import Logins, LoginsError, line
from web.access.sessions import COOKIE

JSON = {"Content_Type": "application/json"}
Answer = tuple[int, dict[str, str], bytes]


def ask(web: WebServer, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    try:
        connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def log_in(web: WebServer, name: str, password: str | None = None, **headers: str) -> Answer:
    body = json.dumps({"name": name, "password": password or PASSWORDS[name][0]}).encode()
    return ask(web, "POST", "/api/login", body, **(JSON | headers))


def session(web: WebServer, name: str, password: str | None = None) -> str:
    """The cookie of somebody who has logged in."""
    status, headers, body = log_in(web, name, password)
    assert status == 200, body
    return headers["set-cookie"].partition(";")[0]


def me(web: WebServer, cookie: str = "", **headers: str) -> dict[str, Any]:
    return dict(json.loads(ask(web, "GET", "/api/me", Cookie=cookie, **headers)[2]))


@pytest.fixture
def own_web(small_ioc: SmallIoc, logins_file: Path) -> Iterator[WebServer]:
    """A web server on which nobody has tried anything yet."""
    web = WebServer(served(small_ioc.prefix, logins_file, puts="on"))
    yield web
    web.close()


def test_who_is_not_logged_in_sees_and_puts_nothing(small_ioc: SmallIoc, web: WebServer, browser: Browser) -> None:
    before = list(small_ioc.puts)
    assert "log in first" in browser.write(small_ioc.prefix + "ao", 5)
    assert small_ioc.puts == before
    assert me(web)["refusal"].startswith("log in first")


@pytest.mark.parametrize(
    ("record", "value", "put"),
    [
        ("ao", 5, 5.0),
        ("ao", "6.5", 6.5),
        ("ao", "7.50 kV", 7.5),
        ("ao", "8kV ", 8.0),
        ("bo", 0, 0),
        ("bo", "Off", 0),
        ("text", "hello", "hello"),
        ("text", 5, "5"),
    ],
)
def test_who_may_puts_numbers_words_and_texts(
    small_ioc: SmallIoc, web: WebServer, record: str, value: object, put: object
) -> None:
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        assert browser.write(small_ioc.prefix + record, value) == ""
        assert small_ioc.puts[-1] == (record, put)


@pytest.mark.parametrize(
    ("record", "value", "reason"),
    [
        ("ao", 70, "failed"),
        ("ao", [1, 2], "there is room for 1"),
        ("ao", {"a": 1}, "a number, a text or a list"),
        ("ao", None, "a number, a text or a list"),
        ("ao", True, "a number, a text or a list"),
        ("ao", [True], "a list holds numbers alone"),
        ("ao", "x" * 40, "there is room for 39"),
        ("ao", "5 V", "its unit is kV now, not V"),
        ("ao", "5 kV/s", "its unit is kV now, not kV/s"),
        ("ao", "kV", "failed"),
        ("bo", "On kV", "failed"),
        ("bo", 1.5, "none of the states"),
        ("bo", 2, "none of the states"),
        ("bo", -1, "none of the states"),
        ("text", "zero \0 byte", "no zero byte"),
        ("ai", 1, "denied"),
        ("no such record", 1, "not the name"),
    ],
)
def test_what_cannot_be_put_is_refused_with_the_reason(
    small_ioc: SmallIoc, web: WebServer, record: str, value: object, reason: str
) -> None:
    before = list(small_ioc.puts)
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        assert reason in browser.write(small_ioc.prefix + record, value, confirmed=True)
    assert small_ioc.puts == before


def test_nothing_is_put_to_another_rack(web: WebServer) -> None:
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        assert "no PV of this rack" in browser.write("OTHER:HV", 0)


@pytest.mark.parametrize("name", ["bo", "bo.VAL", "ca://{}bo"])
def test_what_is_dangerous_asks_for_a_confirmation_and_off_does_not(
    small_ioc: SmallIoc, web: WebServer, name: str
) -> None:
    pv = name.format(small_ioc.prefix) if "{" in name else small_ioc.prefix + name
    before = list(small_ioc.puts)
    with Browser(web, {"Cookie": session(web, "anna")}) as browser:
        browser.say(type="write", pv=pv, value=1, id=7)
        refused = browser.hear_until(lambda message: message.get("id") == 7)
        assert refused["confirm"] == "it may let high voltage out"
        assert small_ioc.puts == before
        assert browser.write(pv, 1, confirmed=True) == ""
        assert browser.write(pv, 0) == ""
    assert small_ioc.puts == [*before, ("bo", 1), ("bo", 0)]


def test_a_login_that_may_only_see_puts_nothing(small_ioc: SmallIoc, web: WebServer) -> None:
    with Browser(web, {"Cookie": session(web, "bob")}) as browser:
        assert "bob may see, not put" in browser.write(small_ioc.prefix + "ao", 5)


def test_puts_are_off_unless_the_configuration_says_on(small_ioc: SmallIoc, logins_file: Path) -> None:
    web = WebServer(served(small_ioc.prefix, logins_file))
    try:
        with Browser(web, {"Cookie": session(web, "anna")}) as browser:
            assert "puts are off" in browser.write(small_ioc.prefix + "ao", 5)
    finally:
        web.close()


def test_a_put_is_logged_with_the_name_of_the_person(
    small_ioc: SmallIoc, web: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    pv = small_ioc.prefix + "ao"
    with caplog.at_level("INFO"), Browser(web, {"Cookie": session(web, "anna")}) as browser:
        browser.write(pv, 7)
        browser.write(pv, 700)
    assert f"anna at 127.0.0.1 put 7 to {pv}" in caplog.messages
    assert any(each.startswith(f"anna at 127.0.0.1 put 700 to {pv}, in vain: ") for each in caplog.messages)


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_page_of_another_site_is_nobody(small_ioc: SmallIoc, web: WebServer, origin: str) -> None:
    cookie = session(web, "anna")
    with Browser(web, {"Cookie": cookie, "Origin": origin}) as browser:
        assert "log in first" in browser.write(small_ioc.prefix + "ao", 5)
    assert me(web, cookie, Origin=origin)["name"] == ""
    assert log_in(web, "anna", Origin=origin)[0] == 403


def test_our_own_page_is_its_user(web: WebServer) -> None:
    own = f"http://127.0.0.1:{web.port}"
    cookie = session(web, "anna")
    assert me(web, cookie, Origin=own)["name"] == "anna"


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(web: WebServer) -> None:
    _, headers, _ = log_in(web, "anna")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(headers["set-cookie"].split("; "))
    assert headers["cache-control"] == "no-store"
    _, headers, _ = log_in(web, "anna", X_Forwarded_Proto="https")
    assert "Secure" in headers["set-cookie"].split("; ")


def test_after_a_logout_the_session_is_worth_nothing(small_ioc: SmallIoc, web: WebServer) -> None:
    cookie = session(web, "anna")
    with Browser(web, {"Cookie": cookie}) as browser:
        assert ask(web, "POST", "/api/logout", b"{}", Cookie=cookie, X_CSRF_Token="guessed")[0] == 403
        assert me(web, cookie)["name"] == "anna"
        assert ask(web, "POST", "/api/logout", b"{}", Cookie=cookie, X_CSRF_Token=me(web, cookie)["csrf"])[0] == 200
        assert me(web, cookie)["name"] == ""
        assert "log in first" in browser.write(small_ioc.prefix + "ao", 5)


def test_an_invented_session_is_nobody(web: WebServer) -> None:
    assert me(web, f"{COOKIE}={'x' * 43}")["name"] == ""


def test_wrong_passwords_are_refused_and_then_have_to_wait(
    own_web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anna", "nobody", "", "anna' OR 1=1 --", "a" * 3000):
        status, _, body = log_in(own_web, name, "wrong password")
        assert (status, json.loads(body)["error"]) == (401, "name or password is wrong")
    status, headers, _ = log_in(own_web, "anna")
    assert status == 429
    assert 0 < int(headers["retry-after"]) <= throttle.WINDOW
    monkeypatch.setattr(throttle, "WINDOW", 0.0)
    assert log_in(own_web, "anna")[0] == 200


def test_who_has_a_login_cannot_try_passwords_of_others_between(own_web: WebServer) -> None:
    found = [log_in(own_web, name, "wrong password" if name == "anna" else None)[0] for name in ["anna", "bob"] * 6]
    assert found == [401, 200] * 4 + [401] + [429] * 3
    assert log_in(own_web, "bob")[0] == 429


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"name=anna&password=x", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"name": 1, "password": 2}', "application/json", 400),
        (b"[" * 4000, "application/json", 400),
        (b'{"name": "\\ud800", "password": "x"}', "application/json", 400),
        (b'{"name": "anna", "password": "\\udfff"}', "application/json", 400),
        (b'{"name": "' + b"a" * 10_000 + b'"}', "application/json", 413),
    ],
)
def test_a_login_that_is_none_is_refused(web: WebServer, body: bytes, kind: str, status: int) -> None:
    assert ask(web, "POST", "/api/login", body, Content_Type=kind)[0] == status


def test_logins_are_read_again_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "logins"
    path.write_text(line("anna", "first password", "put") + "\n")
    known = Logins(path)
    assert known.verify("anna", "first password")
    path.write_text(line("carl", "other password!", "view") + "\n")
    assert (known.rights("anna"), known.rights("carl")) == ("", "view")
    path.write_text("carl:put:plain text\n")
    assert known.rights("carl") == "view"
    path.unlink()
    assert known.rights("carl") == "view"


@pytest.mark.parametrize("text", ["anna", "anna:put:secret", "anna:all:$argon2id$x", "a b:put:$argon2id$x", ":::"])
def test_a_file_of_logins_with_a_wrong_line_is_refused_by_its_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "logins"
    path.write_text(f"# comment\n\n{text}\n")
    with pytest.raises(LoginsError, match=":3: a line is name:view:hash"):
        Logins(path)


@pytest.mark.parametrize(("text", "reason"), [(None, "cannot be read"), ("anna:x", "a line is name:view:hash")])
def test_a_web_server_whose_logins_cannot_be_read_does_not_start(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    config = tmp_path / "rack.yaml"
    config.write_text("prefix: 'T:'\ninstruments: {TC1: {driver: se521}}\nweb: {puts: 'on', logins: people}\n")
    if text is not None:
        (tmp_path / "people").write_text(text)
    command = [sys.executable, "-P", "-m", "rackioc", "web", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr.startswith("rackioc: ")) == (1, True)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/%2e%2e/page.py", "/static/..%2f..%2fserver.py", "/static/....//page.py",
        "/static//etc/passwd", "/static/%00", "/static/", "/../../etc/passwd", "/api/../../etc/passwd",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_page(web: WebServer, path: str) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] in {b"404", b"400"}
    assert b"root:" not in answer
    assert b"import" not in answer


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/me", "/api/instruments", "/no/such/page", "/ping"])
def test_each_answer_has_the_headers_that_a_review_asks_for(web: WebServer, path: str) -> None:
    _, headers, _ = ask(web, "GET", path)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_a_body_that_does_not_come_is_given_up(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.access.middleware._PATIENCE", 0.3)
    with socket.create_connection(("127.0.0.1", web.port), 10) as raw:
        raw.sendall(
            b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        )
        raw.settimeout(10)
        assert not raw.recv(4096).startswith(b"HTTP/1.1 200")  # nor does it time out
    assert ask(web, "GET", "/ping")[0] == 200


def test_a_web_socket_lives_longer_than_a_request_may_take(
    small_ioc: SmallIoc, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.server.REQUEST_S", 0.2)
    small_ioc.read("ai", 5.0)
    with Browser(web) as browser:
        time.sleep(0.5)
        browser.subscribe(small_ioc.prefix + "ai")
        browser.value(small_ioc.prefix + "ai", 5.0)


def test_many_sockets_that_say_nothing_harm_nobody(small_ioc: SmallIoc, web: WebServer) -> None:
    small_ioc.read("ai", 5.0)
    idle = [socket.create_connection(("127.0.0.1", web.port), 10) for _ in range(200)]
    try:
        with Browser(web) as browser:
            browser.subscribe(small_ioc.prefix + "ai")
            browser.value(small_ioc.prefix + "ai", 5.0)
        assert ask(web, "GET", "/ping")[0] == 200
    finally:
        for each in idle:
            each.close()


@pytest.mark.parametrize(
    "path", ["/api/instruments", "/api/values?pv=A", "/api/alarms", "/api/history?pv=A", "/metrics"]
)
def test_where_a_login_is_wanted_values_are_for_who_has_one(
    small_ioc: SmallIoc, logins_file: Path, path: str
) -> None:
    web = WebServer(served(small_ioc.prefix, logins_file, view="login"))
    try:
        assert ask(web, "GET", path)[0] == 401
        assert ask(web, "GET", "/")[0] == 200
        assert ask(web, "GET", path, Cookie=session(web, "bob"))[0] in {200, 404}
    finally:
        web.close()


def test_a_message_that_is_too_long_ends_its_connection_alone(small_ioc: SmallIoc, web: WebServer) -> None:
    small_ioc.read("ai", 5.0)
    with Browser(web) as other, Browser(web) as browser:
        with suppress(ConnectionClosed):
            browser.socket.send("x" * 3_000_000)
        with pytest.raises(ConnectionClosed, match="1009"):
            browser.hear()
        other.subscribe(small_ioc.prefix + "ai")
        other.value(small_ioc.prefix + "ai", 5.0)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        pytest.param(b"\x81\xff" + struct.pack(">Q", 10_000_000) + bytes(4), 1009, id="too-long"),
        pytest.param(b"\x81\x81" + bytes(4) + b"\xff", 1007, id="not-utf-8"),
        pytest.param(b"\x83\x80" + bytes(4), 1002, id="no-such-frame"),
        pytest.param(b"\x81\x00", 1002, id="not-masked"),
    ],
)
def test_who_sends_what_is_refused_is_told_so_though_it_is_still_sending(
    web: WebServer, first: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), 10.0) as bare:
        bare.sendall(
            b"GET /pvws/pv HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += bare.recv(1000)
        bare.sendall(first)
        for _ in range(40):
            time.sleep(0.005)
            bare.sendall(bytes(25_000))
        bare.shutdown(socket.SHUT_WR)
        while more := bare.recv(1000):
            received += more
    frame = received[received.index(b"\x88") :]
    assert struct.unpack(">H", frame[2:4]) == (code,)
    assert caplog.records == []


def test_the_log_of_puts_has_the_name_of_the_person(
    small_ioc: SmallIoc, web: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    name = small_ioc.prefix + "ao"
    anna = {"Cookie": session(web, "anna", PASSWORDS["anna"][0])}
    with caplog.at_level(logging.INFO, "rackioc.puts"), Browser(web, anna) as browser:
        assert browser.write(name, 2.5) == ""
        until(lambda: [each for each in caplog.records if each.name == "rackioc.puts"])
    (line,) = [each.getMessage() for each in caplog.records if each.name == "rackioc.puts"]
    assert line.startswith("anna at ")
    assert f" put 2.5 to {name} (was " in line
