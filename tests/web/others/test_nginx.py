"""nginx with TLS in front of the web server, as docs/how-to/web-with-tls.md has it; and the web server's own TLS."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from bench.rig.loopback import free_port
from tests.client import Client
from tests.small_ioc import until
from tests.web.live.conftest import PASSWORDS
from tests.web.others.conftest import Rack
from tests.web.others.nginx import NAME, Nginx
from tests.web.served import iso

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

JSON = {"Content-Type": "application/json"}
FORGED = "198.51.100.7"


@pytest.fixture(scope="module")
def nginx(rack: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), rack.port)
    yield nginx
    nginx.close()


def log_in(nginx: Nginx, name: str, password: str = "", from_: str = "127.0.0.1", **headers: str) -> Any:
    """Status, headers and body of a login as the page sends it."""
    body = json.dumps({"name": name, "password": password or PASSWORDS[name][0]}).encode()
    more = {key.replace("_", "-"): value for key, value in headers.items()}
    return nginx.ask("POST", "/api/login", body, {**JSON, "Origin": nginx.site, **more}, from_=from_)


def cookie(nginx: Nginx, name: str, from_: str = "127.0.0.1") -> str:
    """The cookie of somebody who has logged in."""
    status, headers, body = log_in(nginx, name, from_=from_)
    assert status == 200, body
    return str(headers["set-cookie"]).partition(";")[0]


def web_socket(nginx: Nginx, from_: str = "127.0.0.1", **headers: str) -> ClientConnection:
    """A web socket over TLS, opened by a page of ``Origin``."""
    url = f"wss://{NAME}:{nginx.port}/pvws/pv"
    sock = nginx.connect(from_)
    return connect(
        url, sock=sock, ssl=nginx.trusting(), server_hostname=NAME, additional_headers=headers, compression=None
    )


def put(sock: ClientConnection, pv: str, value: object) -> str:
    """Put; the reason of a refusal, or an empty text."""
    sock.send(json.dumps({"type": "write", "pv": pv, "value": value, "id": 1}))
    while True:
        answer = json.loads(sock.recv(20))
        if answer.get("id") == 1:
            return str(answer.get("message", ""))


def test_the_page_comes_with_its_headers_and_http_is_sent_on_to_it(nginx: Nginx) -> None:
    status, headers, body = nginx.ask("GET", "/")
    assert (status, b"<html" in body) == (200, True)
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    plain = http.client.HTTPConnection("127.0.0.1", nginx.plain, timeout=20)
    plain.request("GET", "/?x=1", headers={"Host": NAME})
    answer = plain.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{NAME}/?x=1")
    plain.close()


@pytest.mark.parametrize("forged", [{}, {"X_Forwarded_Proto": "http"}])
def test_a_login_has_a_cookie_for_tls_alone(nginx: Nginx, forged: dict[str, str]) -> None:
    status, headers, _ = log_in(nginx, "anna", **forged)
    assert status == 200
    assert {"Secure", "HttpOnly", "SameSite=Strict"} <= set(headers["set-cookie"].split("; "))
    token = headers["set-cookie"].partition(";")[0]
    me = json.loads(nginx.ask("GET", "/api/me", headers={"Cookie": token, "Origin": nginx.site})[2])
    assert (me["name"], me["refusal"]) == ("anna", "")


def test_a_login_from_a_page_of_another_site_is_refused(nginx: Nginx) -> None:
    status, _, body = log_in(nginx, "anna", Origin="https://elsewhere.example.org")
    assert (status, json.loads(body)["error"]) == (403, "a login comes from the page of this server")


def test_values_come_over_the_web_socket_and_change(nginx: Nginx, rack: Rack) -> None:
    with web_socket(nginx) as live:
        live.send(json.dumps({"type": "subscribe", "pvs": [rack.ioc("TC1:T1")]}))
        values: set[float] = set()
        while len(values) < 2:
            answer = json.loads(live.recv(20))
            if isinstance(answer["value"], float):
                values.add(answer["value"])


def test_who_is_logged_in_puts_and_the_log_has_their_real_address(nginx: Nginx, rack: Rack, ca: Client) -> None:
    ca.put(rack.ioc("GEN:Mode"), 0)
    own = {"Cookie": cookie(nginx, "anna", from_="127.0.0.2"), "Origin": nginx.site, "X-Forwarded-For": FORGED}
    with web_socket(nginx, from_="127.0.0.2", **own) as live:
        assert put(live, rack.ioc("GEN:VSet"), 7) == ""
        assert "confirmed" in put(live, rack.ioc("GEN:HV"), "On")
    assert float(ca.get(rack.ioc("GEN:VSet"))) == pytest.approx(7, abs=0.05)
    assert f"anna at 127.0.0.2 put 7 to {rack.ioc('GEN:VSet')}" in rack.ioc.logged()
    assert FORGED not in rack.ioc.logged()


@pytest.mark.parametrize("origin", ["https://elsewhere.example.org", f"https://{NAME}", f"http://{NAME}", "null"])
def test_a_page_of_another_site_puts_nothing_whatever_cookie_it_sends(
    nginx: Nginx, rack: Rack, ca: Client, origin: str
) -> None:
    before = ca.get(rack.ioc("GEN:VSet"))
    with web_socket(nginx, Cookie=cookie(nginx, "anna"), Origin=origin) as live:
        assert "log in first" in put(live, rack.ioc("GEN:VSet"), 3)
    assert ca.get(rack.ioc("GEN:VSet")) == before


def test_wrong_passwords_are_counted_by_the_real_address(nginx: Nginx) -> None:
    for number in range(5):
        forged = f"198.51.100.{number}"
        status, _, body = log_in(nginx, "bob", "no", from_="127.0.0.3", X_Forwarded_For=forged, X_Real_IP=forged)
        assert status == 401, body
    status, headers, _ = log_in(nginx, "bob", from_="127.0.0.3", X_Forwarded_For="198.51.100.9")
    assert (status, int(headers["retry-after"]) > 0) == (429, True)
    # nobody else has to wait, and nobody is kept out by one who names their address
    assert log_in(nginx, "bob", from_="127.0.0.4")[0] == 200
    for _ in range(6):
        log_in(nginx, "bob", "no", from_="127.0.0.5", X_Forwarded_For="127.0.0.6")
    assert log_in(nginx, "bob", from_="127.0.0.6")[0] == 200


def direct(rack: Rack, path: str) -> bytes:
    """The answer of the web server itself."""
    connection = http.client.HTTPConnection("127.0.0.1", rack.port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def test_history_is_the_same_through_it(nginx: Nginx, rack: Rack) -> None:
    until(lambda: len(rack.ioc.archived("TC1:T1")) > 1, 30)
    now = time.time_ns()
    address = f"/retrieval/data/getData.{{}}?pv={rack.ioc('TC1:T1')}&from={iso(now - 60 * 10**9)}&to={{}}"
    # later ones may not be stored yet
    newest = json.loads(direct(rack, address.format("json", iso(now))))[0]["data"][-1]
    until_ = iso(newest["secs"] * 10**9 + newest["nanos"])
    for form in ("json", "raw"):
        body = direct(rack, address.format(form, until_))
        assert nginx.ask("GET", address.format(form, until_))[::2] == (200, body)
        assert len(body) > 50


def test_the_web_server_speaks_tls_itself(nginx: Nginx, tmp_path: Path) -> None:
    port = free_port()
    certificate = nginx.certificate
    web = {"port": port, "certificate": str(certificate), "key": str(certificate.with_suffix(".key"))}
    config = {"prefix": "T:", "instruments": {"TC1": {"driver": "se521"}}, "web": web}
    (tmp_path / "rack.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-P", "-m", "rackioc", "web", "rack.yaml"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any(f"listening at https://127.0.0.1:{port}/" in line for line in process.stderr)
            with nginx.trusting().wrap_socket(_to(port), server_hostname=NAME) as secure:
                secure.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: secure.recv(65536), b""))
            assert b"strict-transport-security: max-age=31536000" in answer
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.create_default_context().wrap_socket(_to(port), server_hostname=NAME)
        finally:
            process.terminate()
            assert process.wait(20) == 0


def _to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20)
