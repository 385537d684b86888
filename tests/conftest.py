"""What holds for all tests: Channel Access on loopback, on ports of this process; which tests run together."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import pytest_timeout

from bench.rig.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client import Client
    from tests.small_ioc import SmallIoc


# before libca is loaded
os.environ.update(
    EPICS_CA_SERVER_PORT=str(free_port()),
    EPICS_CA_REPEATER_PORT=str(free_port()),
    EPICS_CA_AUTO_ADDR_LIST="NO",
    EPICS_CA_ADDR_LIST="127.0.0.1",
    EPICS_CAS_INTF_ADDR_LIST="127.0.0.1",
    EPICS_CAS_BEACON_ADDR_LIST="127.0.0.1",
    EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
)

# what tests expect of local times holds wherever they run
os.environ["TZ"] = "UTC"
time.tzset()

# a shell has what it starts in the background ignore SIGINT, nohup SIGHUP, and so would the programs that tests end
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# In which part a test is run: as it is marked, else together
PARTS = ("together", "quiet", "alone")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part",
        choices=PARTS,
        help="run the tests that may run beside any others, or those marked 'quiet', or 'alone'; all if not given",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the part asked for."""
    part = config.getoption("--part")
    if part is None:
        return
    parts: dict[str, list[pytest.Item]] = {each: [] for each in PARTS}
    for item in items:
        parts[next((each for each in PARTS if item.get_closest_marker(each)), "together")].append(item)
    items[:] = parts.pop(part)
    config.hook.pytest_deselected(items=[item for others in parts.values() for item in others])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give a test that is run again its time: pytest-timeout stops its clock for good when the test fails once."""
    if getattr(item, "execution_count", 1) > 1:
        settings = pytest_timeout._get_item_settings(item)
        item.config.pluginmanager.hook.pytest_timeout_set_timer(item=item, settings=settings)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests were run again because they failed, and which code blocks of the documents were not run."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"run again, for it failed: {report.nodeid}")
        terminalreporter.line(report.longreprtext)
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.stats.get(kind, [])]
    results = [value for each in reports for name, value in each.user_properties if name == "blocks"]
    if results:
        left_out = [reason for _, reasons in results for reason in reasons]
        ran = sum(ran for ran, _ in results)
        terminalreporter.section(f"documents: {ran} blocks run, {len(left_out)} left out")
        for reason in sorted(left_out):
            terminalreporter.line(reason)


@pytest.fixture(scope="session")
def ca() -> Client:
    """A Channel Access client."""
    from tests.client import Client

    return Client()


@pytest.fixture(scope="module")
def small_ioc() -> Iterator[SmallIoc]:
    """A Channel Access server on loopback."""
    from tests.small_ioc import SmallIoc

    small_ioc = SmallIoc()
    yield small_ioc
    small_ioc.close()
