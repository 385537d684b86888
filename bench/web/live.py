"""Browsers on a full crate, 768 channels x 3 values at 1 Hz over the web socket: CPU, delay; and the page itself."""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from archiver.ca import dbr
from archiver.ca.session import Session
from bench.rig import contest, servers
from bench.rig.contest import Rounds, Seconds
from bench.rig.loopback import free_port
from bench.rig.servers import RACKIOC, Failed
from bench.rig.table import Column, Figures

PREFIX = "LARGE:"
SHOWN = ("VMon", "IMon", "Status")
NAMES = [
    f"{PREFIX}HV1:S{slot:02}:C{channel:02}:{each}" for slot in range(16) for channel in range(48) for each in SHOWN
]
# Seconds for the rack to serve all, and between the first values and the measurement.
START, SETTLE = 90.0, 5.0
# Bytes that are read at once.
AT_ONCE = 1 << 20
COLUMNS = (
    Column("browsers", "browsers", 0),
    Column("updates", "updates/s each", 0),
    Column("web", "web server, cores", 3),
    Column("share", "IOC more than without, cores", 3),
    Column("p50", "delay 50 %, s", 2),
    Column("p99", "delay 99 %, s", 2),
    Column("first", "all first values, s", 2),
    Column("memory", "web server, MB", 0),
    Column("page", "page: first values, s", 2),
    Column("chromium", "page: Chromium, cores", 3),
)
GOAL = "web server <= 0.5 core; IOC <= 0.02 core more; delay 99 % <= 0.5 s; page <= 1.5 s, Chromium <= 0.25 core"

_LOOK = """
const look = () => {
  const all = [...document.querySelectorAll(".tile-channel .v")];
  if (all.length >= 768 && all.every((each) => /\\d/.test(each.textContent))) window.complete = performance.now();
  else setTimeout(look, 20);
};
document.addEventListener("DOMContentLoaded", look);
"""


def main(
    rounds: Rounds = 3, seconds: Seconds = 30, browsers: Annotated[int, typer.Option(min=1, help="Web sockets.")] = 20
) -> None:
    """Serve the simulated full rack; measure without browsers, with --browsers web sockets, and the page."""
    contest.run(
        f"web.live: {browsers} browsers, {len(NAMES)} PVs, {seconds:g} s",
        [RACKIOC],
        rounds,
        lambda _: measure(browsers, seconds),
        COLUMNS,
        GOAL,
    )


def measure(count: int, seconds: float) -> Figures:
    """Measure once, in a rack of its own."""
    with running() as (ioc, web, port):
        without = _cpu(ioc, seconds)
        browsers = [_Browser(port) for _ in range(count)]
        begin = time.time()
        for browser in browsers:
            browser.subscribe(NAMES)
        first = browsers[0]
        _read(browsers, lambda: len(first.seen) == len(NAMES), START)
        complete = time.time() - begin
        _read(browsers, lambda: False, SETTLE)
        first.delays, begin = [], time.time()
        before = servers.cpu(web), servers.cpu(ioc)
        _read(browsers, lambda: False, seconds)
        long = time.time() - begin
        used, ioc_used = (servers.cpu(pid) - was for pid, was in zip((web, ioc), before, strict=True))
        delays = sorted(first.delays)
        memory = servers.rss(web) / 1000
        for browser in browsers:
            browser.close()
        return {
            "browsers": count,
            "updates": len(delays) / long,
            "web": used / long,
            "share": ioc_used / long - without,
            "p50": delays[len(delays) // 2],
            "p99": delays[int(len(delays) * 0.99)],
            "first": complete,
            "memory": memory,
            **_page(port, seconds),
        }


@contextmanager
def running() -> Iterator[tuple[int, int, int]]:
    """Yield pid of the IOC, pid of its web server and its port, when all values change once a second."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "rackioc", "sim", "demo", "--large", "--control-path", "control"]
    environment = servers.environment() | {"RACKIOC_WEB_PORT": str(port)}
    os.environ.update(environment)  # for the client below
    with tempfile.TemporaryDirectory() as folder, servers.launch(command, folder, environment) as (process, _):
        _let_all_change()
        children = psutil.Process(process.pid).children()
        (web,) = [each.pid for each in children if "web" in each.cmdline()]
        yield process.pid, web, port


def _let_all_change() -> None:
    """Take the deadbands away, so that each value that is read is posted."""
    with Session(START) as session:
        fields = session.search([f"{name}.MDEL" for name in NAMES if not name.endswith("Status")])
        if not all(each.connected for each in fields):
            raise Failed("the rack does not serve all of its channels")
        ended: list[int] = []
        for each in fields:
            each.channel.put(dbr.DOUBLE, 1, struct.pack("=d", -1), lambda status, _: ended.append(status))
        session.wait(lambda: len(ended) == len(fields))


def _cpu(pid: int, seconds: float) -> float:
    before = servers.cpu(pid)
    time.sleep(seconds)
    return (servers.cpu(pid) - before) / seconds


class _Browser:
    """A web socket by hand, which costs little: frames are cut out of what comes, and looked at by the first one."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /pvws/pv HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._data += self.socket.recv(4096)
        self._data = self._data.partition(b"\r\n\r\n")[2]
        self.seen: set[str] = set()
        self.delays: list[float] = []

    def subscribe(self, names: Sequence[str]) -> None:
        """Ask for PVs, in one masked frame."""
        text = json.dumps({"type": "subscribe", "pvs": names}).encode()
        self._frame(1, text)

    def receive(self, looked_at: bool) -> None:
        """Read what has come; note the PVs and the age of their values if this browser is looked at."""
        self._data += self.socket.recv(AT_ONCE)
        now = time.time()
        for kind, text in self._frames():
            if kind == 9:  # a ping
                self._frame(10, text)
            elif looked_at:
                message = json.loads(text)
                self.seen.add(message["pv"])
                self.delays.append(now - message["seconds"] - message["nanos"] / 1e9)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        data, at = self._data, 0
        while len(data) - at >= 2:
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if len(data) - at < head + size:
                break
            yield data[at] & 15, data[at + head : at + head + size]
            at += head + size
        self._data = data[at:]

    def _frame(self, kind: int, text: bytes) -> None:
        size = len(text)
        head = bytes((0x80 | kind, 0x80 | size)) if size < 126 else struct.pack(">BBQ", 0x80 | kind, 0xFF, size)
        self.socket.setblocking(True)
        self.socket.sendall(head + bytes(4) + text)  # masked with zeros
        self.socket.setblocking(False)


def _read(browsers: Sequence[_Browser], done: Any, seconds: float) -> None:
    """Read all browsers, until ``done`` or for so long."""
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for browser in browsers:
            selector.register(browser.socket, selectors.EVENT_READ, browser)
        while not done() and time.monotonic() < end:
            for key, _ in selector.select(0.1):
                key.data.receive(key.data is browsers[0])


def _page(port: int, seconds: float) -> Figures:
    """Return when the page of the crate has all first values, and what Chromium needs at 1 Hz."""
    from selenium import webdriver  # noqa: PLC0415 - the rest is measured without a browser, too
    from selenium.webdriver.chrome.options import Options  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    driver, chromium = Path("/usr/bin/chromedriver"), Path("/usr/bin/chromium")
    if not driver.exists() or not chromium.exists():
        raise Failed("Chromium is not installed: script/setup-servers does it")
    options = Options()
    options.binary_location = str(chromium)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1920,1080"):
        options.add_argument(argument)
    page = webdriver.Chrome(options=options, service=Service(str(driver)))
    try:
        page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _LOOK})
        page.get(f"http://127.0.0.1:{port}/#/i/HV1")
        end = time.monotonic() + START
        while not (complete := page.execute_script("return window.complete")):
            if time.monotonic() > end:
                raise Failed("the page has not shown all channels")
            time.sleep(0.1)
        time.sleep(SETTLE)
        processes = psutil.Process(page.service.process.pid).children(recursive=True)
        before = sum(servers.cpu(each.pid) for each in processes)
        time.sleep(seconds)
        used = sum(servers.cpu(each.pid) for each in processes) - before
        return {"page": complete / 1000, "chromium": used / seconds}
    finally:
        page.quit()


if __name__ == "__main__":
    typer.run(main)
