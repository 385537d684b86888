"""A real nginx with TLS in front of a web server, configured as the page about it says, as an ordinary user."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.rig.loopback import free_port
from tests.small_ioc import until
from tests.web.others.pages import block

NAME = "rack.example.org"
PAGE = "web-with-tls.md"

# What a distribution's own configuration has around that of the page; no file outside the folder is written
AROUND = """\
daemon off;
{user}
pid "{folder}/nginx.pid";
error_log stderr;
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    include "{folder}/rack.conf";
}}
"""


class Nginx:
    """An nginx with a certificate that it has signed itself. ``port``: of TLS; ``plain``: of HTTP.

    ``more``: what another page adds to the server.
    """

    def __init__(self, folder: Path, web_port: int, more: str = "") -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("the page behind nginx is not tested: nginx is not installed (script/setup-servers)")
        self.port, self.plain = free_port(), free_port()
        self.certificate = folder / "rack.crt"
        key = folder / "rack.key"
        make = block(PAGE, "rack.crt").replace("\\\n", "").split()
        subprocess.run(make, cwd=folder, check=True, capture_output=True)
        here = {
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "listen 80": f"listen 127.0.0.1:{self.plain}",
            "/etc/ssl/certs/rack.example.org.crt": f'"{self.certificate}"',
            "/etc/ssl/private/rack.example.org.key": f'"{key}"',
            "127.0.0.1:8080": f"127.0.0.1:{web_port}",
            "    location / {": f"{more}    location / {{",
        }
        text = block(PAGE, "/etc/nginx/conf.d/rack.conf")
        for there, real in here.items():
            assert text.count(there) == 1, there
            text = text.replace(there, real)
        (folder / "rack.conf").write_text(text, encoding="utf-8")
        # else the processes that answer are those of a user who may not read the folder
        user = "user root root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user), encoding="utf-8")
        self.log = folder / "nginx.log"
        arguments = [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        try:
            until(lambda: self.process.poll() is not None or self._listens(), 20)
            assert self.process.poll() is None, self.log.read_text()
        except BaseException:
            self.process.kill()
            raise

    @property
    def site(self) -> str:
        """The address of the page as a browser has it."""
        return f"https://{NAME}:{self.port}"

    def trusting(self) -> ssl.SSLContext:
        """Return what a client needs that trusts this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def connect(self, from_: str = "127.0.0.1") -> socket.socket:
        """Return a TCP connection that comes from an address of this computer."""
        return socket.create_connection(("127.0.0.1", self.port), 20, source_address=(from_, 0))

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, **from_: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer over TLS."""
        connection = http.client.HTTPConnection(NAME, self.port, timeout=20)
        connection.sock = self.trusting().wrap_socket(self.connect(**from_), server_hostname=NAME)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        """Stop it; it must have complained of nothing but what the tests provoke."""
        self.process.terminate()
        try:
            assert self.process.wait(20) == 0, self.log.read_text()
        finally:
            self.process.kill()
        said = self.log.read_text()
        assert "[emerg]" not in said, said
        assert "[alert]" not in said, said

    def _listens(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True
