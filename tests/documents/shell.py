"""The shells of a page: each of its commands is run, and what it writes compared with what the page shows."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from tests.documents.shown import same

# Commands that go on until they are stopped: they have a shell of their own, as in the page's words
SERVES = re.compile(r"rackioc (sim (--large )?(demo|run)|run|archive)\b|.* &$")
# Commands that only look: what they show may take a scan, a commit or a reconnect to come
LOOKS = re.compile(r"(?:\(?cd \S+ && )*(?:\S+/)?rackioc (get|history|status|db status)\b|sqlite3 ")
PATIENCE = 40.0
# Seconds that a command may take
LONGEST = 90.0


@dataclass
class Shell:
    """A folder and variables in which a page's commands are run; what they export stays."""

    folder: Path
    variables: Mapping[str, str]
    # What a page calls so -> what it is here: folders, hosts
    called: Mapping[str, str] = field(default_factory=dict)
    # Beginning of a command -> what happens before it, such as damage to a file
    before: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    # What carries out SQL, as a server's administrator
    sql: Callable[[str], object] = lambda text: None
    _servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def type(self, console: str, *, numbers_vary: bool = False) -> None:
        """Run each command of a console (``$ command``, then what it writes). Raises AssertionError."""
        for command, shown in _steps(console):
            for beginning, prepare in self.before.items():
                if command.startswith(beginning):
                    prepare()
            self._step(self.here(command), shown, numbers_vary=numbers_vary)

    def here(self, text: str) -> str:
        """Return a text of the page with what it calls folders and hosts as they are called here."""
        for name, real in self.called.items():
            text = text.replace(name, real)
        return text

    def there(self, text: str) -> str:
        """Return what a command has written with the page's names."""
        for name, real in self.called.items():
            text = text.replace(real, name)
        return text

    def close(self) -> None:
        """Stop what serves, in order; what is rackioc's must end well."""
        codes = {}
        for command, process in reversed(self._servers.items()):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            codes[command] = process.wait(PATIENCE)
        self._servers.clear()
        assert not [command for command, code in codes.items() if code and command.startswith("rackioc")], codes

    def pids(self) -> list[int]:
        """Return the processes that serve."""
        return [process.pid for process in self._servers.values()]

    def serve(self, command: str) -> str:
        """Start what goes on until it is stopped, once, and return what it has written when it serves."""
        command = command.removesuffix("&").strip()
        log = self.folder / f"{re.sub(r'[^a-z]+', '-', command)[:30]}.log"
        ours = command.startswith("rackioc")
        if command not in self._servers:
            script = f"{self._resume()}{'exec ' * ours}{command}"
            with log.open("wb") as out:
                self._servers[command] = subprocess.Popen(
                    ["bash", "-c", script], cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL,
                    stdout=out, stderr=out, start_new_session=True,
                )  # fmt: skip
        wanted = r"PVs connected" if command.startswith("rackioc archive") else r"serving \d+ records"
        deadline = time.monotonic() + LONGEST
        while ours and not re.search(wanted, log.read_text()):
            assert self._servers[command].poll() is None, f"$ {command}\n{log.read_text()}"
            assert time.monotonic() < deadline, f"$ {command}\n{log.read_text()}"
            time.sleep(0.05)
        return log.read_text()

    def run(self, command: str) -> tuple[str, int]:
        """Run a command to its end and return what it wrote and its exit code."""
        script = f"{self._resume()}{command}\ncode=$?\nexport -p > {quote(str(self._state))}\nexit $code"
        terminal, writes = os.openpty()
        with subprocess.Popen(
            ["bash", "-c", script], cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL,
            stdout=writes, stderr=writes,
        ) as process, os.fdopen(terminal, "rb", buffering=0) as reads:  # fmt: skip
            os.close(writes)
            written = _read(reads.fileno(), process)
        # without colours; what a line was overwritten with counts: a command may show how far it is
        plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", written.replace("\r\n", "\n"))
        return re.sub(r"(?m)^.*\r(?=.)", "", plain), process.returncode

    @property
    def _state(self) -> Path:
        """The file with what the shell exports."""
        return self.folder / ".state"

    def _resume(self) -> str:
        return f"source {quote(str(self._state))}\n" if self._state.exists() else ""

    def _environment(self) -> dict[str, str]:
        # what a test in this process has published of its own demo is not for the shell
        ours = {key: text for key, text in os.environ.items() if not key.startswith("RACKIOC_")}
        return {**ours, **self.variables}

    def _step(self, command: str, shown: str, *, numbers_vary: bool) -> None:
        if (shows := re.fullmatch(r"cat ([\w.-]+)", command)) and not (self.folder / shows[1]).exists():
            (self.folder / shows[1]).write_text(shown, encoding="utf-8")
        elif SERVES.match(command):
            _try_banner(self, self.serve(command))
        elif command.startswith("rackioc monitor "):
            self._monitor(command, shown)
        else:
            self._compare(command, shown, numbers_vary=numbers_vary)

    def _compare(self, command: str, shown: str, *, numbers_vary: bool) -> None:
        may_fail = "rackioc: " in shown or "echo $?" in command
        deadline = time.monotonic() + PATIENCE
        while True:
            written, code = self.run(command)
            right = not shown or same(shown, self.there(written), numbers_vary=numbers_vary)
            if right and (code == 0 or may_fail):
                return
            told = f"$ {command}\n{written}(exit code {code})\nthe page shows:\n{shown}"
            assert LOOKS.match(command), told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)

    def _monitor(self, command: str, shown: str) -> None:
        """Let a monitor write as many lines as the page shows, and compare them."""
        count = len(shown.splitlines())
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self._environment(), stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().decode() for _ in range(count)]
            process.send_signal(signal.SIGINT)
            process.stdout.read()
        assert same(shown, "".join(lines)), f"$ {command}\n{''.join(lines)}\nthe page shows:\n{shown}"


def _read(terminal: int, process: subprocess.Popen[bytes]) -> str:
    """Return all that a process writes to its terminal; one that takes too long is killed."""
    written, deadline = b"", time.monotonic() + LONGEST
    with suppress(OSError):  # a terminal whose last writer has gone
        while chunk := _chunk(terminal, deadline):
            written += chunk
    if time.monotonic() >= deadline:
        process.kill()
    return written.decode()


def _chunk(terminal: int, deadline: float) -> bytes:
    ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
    return os.read(terminal, 65536) if ready else b""


def _steps(console: str) -> list[tuple[str, str]]:
    """Return the commands of a console, each with the lines below it."""
    assert console.startswith("$ "), f"a console begins with a command: {console[:50]!r}"
    parts = re.split(r"(?m)^\$ ", console)[1:]
    return [(command, shown.strip()) for command, _, shown in (part.partition("\n") for part in parts)]


def _try_banner(shell: Shell, written: str) -> None:
    """Run what the banner of a simulation proposes, in another directory; of the puts the PV is looked at."""
    for command in re.findall(r"(?m)^(?:\w+:)? +(\(cd .*|\S+/rackioc .*)$", written):
        looks = re.sub(r"rackioc (?:monitor|put) (\S+).*", r"rackioc get \1", command)
        shell._compare(f"(cd / && {looks})", "..." if LOOKS.match(looks) else "", numbers_vary=True)
