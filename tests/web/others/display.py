"""A web display of others, cs-web-lib, built in a folder as the page about it says, with the screens of a rack."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rackioc.cli import app
from rackioc.config.load import load
from sim.rack import Rack as Fakes
from tests.web.others.pages import block

PAGE = "web-display.md"
FILES = ("package.json", "display.jsx", "index.html")
COMMANDS = "npm"
# npm asks the registry for what it has not fetched yet, once, and for nothing else
QUICK = {
    **{f"npm_config_{name}": "false" for name in ("audit", "fund", "update_notifier")},
    "npm_config_prefer_offline": "true",
    "npm_config_fetch_retries": "0",
    "npm_config_fetch_timeout": "20000",
}
# How npm names a registry that cannot be reached
AWAY = r"code (E(AI_AGAIN|NOTFOUND|CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|TIMEDOUT)|ERR_SOCKET_TIMEOUT)\b"


def build(folder: Path) -> None:
    """Make the page of the display in an empty folder. Skips where npm, or its registry, is not there."""
    # that of the tests' own environment, if it is there
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if shutil.which("npm", path=path) is None:
        pytest.skip("a web display of others is not tested: npm is not installed (script/setup test,clients)")
    for name in FILES:
        (folder / name).write_text(block(PAGE, name), encoding="utf-8")
    for line in block(PAGE, COMMANDS).splitlines():
        done = subprocess.run(
            line.split(),
            cwd=folder, env={**os.environ, **QUICK, "PATH": path}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=80, check=False,
        )  # fmt: skip
        if re.search(AWAY, done.stderr):
            pytest.skip("a web display of others is not tested: the registry of npm cannot be reached")
        assert done.returncode == 0, done.stdout + done.stderr


def add_screens(folder: Path, config: Path) -> None:
    """Write the screens of a rack into a folder; its crate, which is simulated, is asked what it has."""
    with Fakes({"HV1": load(config).raw["HV1"]}):
        result = CliRunner().invoke(app, ["screens", str(config), "-o", str(folder)])
    assert result.exit_code == 0, result.output
