"""A file system of a few MB that can be filled. Any user may make one: it lives in a mount namespace of its own."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && echo mounted && exec cat'


class SmallDisk:
    """Goes with the process that holds the namespace; programs that are to see it are started by ``wrapper``."""

    def __init__(self, path: Path, size: str) -> None:
        path.mkdir()
        self.path = path
        self._holder = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            self.close()
            pytest.skip("this computer lets its users make no namespaces (unshare --map-root-user --mount)")
        self._ballast = self.seen(path / "ballast")

    @property
    def wrapper(self) -> Sequence[str]:
        """What stands before a command."""
        target = ("--target", str(self._holder.pid))
        return ("nsenter", *target, "--user", "--mount", "--preserve-credentials", "--")

    def seen(self, file: Path) -> Path:
        """The way to a file from here."""
        return Path(f"/proc/{self._holder.pid}/root", *file.parts[1:])

    def fill(self) -> None:
        """To the last byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(b"x" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - it is the end of the loop
        assert shutil.disk_usage(self.seen(self.path)).free < 4096

    def free(self) -> None:
        """What was filled."""
        self._ballast.unlink()

    def close(self) -> None:
        self._holder.communicate()
