"""The demo crate on the network: logins, dying connections, and the faults of the control channel."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sim.caen import Code, Crate, CrateError
from sim.fake import Clock, CommandError, Fake

SYSTEMS = (
    *("SY1527", "SY2527", "SY4527", "SY5527", "N568", "V65XX", "N1470", "V8100", "N568E"),
    *("DT55XX", "FTK", "DT55XXE", "N1068", "SMARTHV", "NGPS", "N1168", "R6060"),
)
LINKS = ("TCPIP", "RS232", "CAENET", "USB", "OPTLINK", "USB_VCP", "USB3", "A4818")


class GarbledAnswer(Exception):
    """The library returns a code that its header does not know."""


@dataclass(eq=False)
class Session:
    """A login; it dies with the connection and does not come back."""

    fake: CrateFake
    user: str
    alive: bool = True
    error: Code = Code.OK
    busy: threading.Lock = field(default_factory=threading.Lock)


class CrateFake(Fake[Crate]):
    """A crate that the fake C library can reach. A username of None lets everybody in."""

    driver = "caen"

    def __init__(
        self,
        crate: Crate,
        *,
        link: str = "TCPIP",
        username: str | None = None,
        password: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(crate, clock)
        # A step costs a microsecond a channel: the more channels, the less often they take one.
        self.shortest_step = 1e-4 * max(50, len(crate.all_channels()))
        self.longest_step = max(0.1, 2 * self.shortest_step)
        self.link = link
        self.credentials = (username, password)
        self.latency = 0.002  # s a call
        self.patience = 0.5  # s until a call to a crate that is not there gives up
        self.most_sessions = 4
        self._sessions: list[Session] = []
        self._cable = False
        self._back_at = -math.inf  # when it is up after a reboot
        self._hangs_until = -math.inf
        self._booting = False

    @property
    def there(self) -> bool:
        return self._cable and self.clock() >= self._back_at

    def plug(self) -> None:
        self._cable = True

    def unplug(self) -> None:
        self._cable = False
        self._drop_sessions()

    def advance(self) -> None:
        super().advance()
        if self._booting and self.clock() >= self._back_at:
            self._booting = False
            self.model.boot()

    def login(self, system: str, link: str, username: str, password: str) -> Session:
        """Open a session; CrateError when it is refused."""
        self._delay()
        if not self.there:
            time.sleep(self.patience)
            raise CrateError(Code.NOTCONNECTED)
        if self.muted:
            time.sleep(self.patience)
            raise CrateError(Code.TIMEERR)
        if self.credentials[0] is not None and self.credentials != (username, password):
            raise CrateError(Code.USERPASSFAILED)
        if link != self.link:
            raise CrateError(Code.LINKNOTSUPPORTED)
        if system != self.model.system:
            raise CrateError(Code.COMMUNICATIONERROR)
        if len(self._sessions) >= self.most_sessions:
            raise CrateError(Code.LOGINFAILED)
        session = Session(self, username)
        self._sessions.append(session)
        self.record(f"login of {username}")
        self._tell_sessions()
        return session

    def logout(self, session: Session) -> None:
        """Close a session; CrateError when it was dead already."""
        if session not in self._sessions:
            raise CrateError(Code.NOTCONNECTED)
        self._sessions.remove(session)
        self.record(f"logout of {session.user}")
        self._tell_sessions()

    @contextmanager
    def call(self, session: Session, *, writes: bool) -> Iterator[Crate]:
        """The model for one call of the library, with what may come between a call and its answer."""
        with self._alone(session):
            self._delay()
            if not session.alive:
                self._refuse()
            self.writes += writes
            with self.present() as crate:
                yield crate
            if self.muted:
                time.sleep(self.patience)
                raise CrateError(Code.TIMEERR)
            if self.garbled():
                raise GarbledAnswer

    @contextmanager
    def _alone(self, session: Session) -> Iterator[None]:
        """The real library mixes answers when two threads are inside one handle; here they wait, and it is told."""
        if not session.busy.acquire(blocking=False):
            self.violate(f"thread {threading.current_thread().name} called while another was inside the same handle")
            session.busy.acquire()
        try:
            yield
        finally:
            session.busy.release()

    def _delay(self) -> None:
        hang = max(0.0, self._hangs_until - self.clock())
        time.sleep(self.latency + self.lateness() + hang)

    def _refuse(self) -> None:
        if self.there:
            raise CrateError(Code.NOTCONNECTED)
        time.sleep(self.patience)
        raise CrateError(Code.SOCKETERROR)

    def _drop_sessions(self) -> None:
        for session in self._sessions:
            session.alive = False
        self._sessions.clear()
        self._tell_sessions()

    def _tell_sessions(self) -> None:
        self.model.sessions = [session.user for session in self._sessions]

    def do_split(self, on: int = 1) -> None:
        """a call has no halves"""
        raise CommandError("a call of the library has no halves to arrive in")

    def do_pull(self, slot: int) -> None:
        """take a board out"""
        with self._slot(slot) as crate:
            crate.pull(slot)

    def do_insert(self, slot: int) -> None:
        """put the board back in, its channels off"""
        with self._slot(slot) as crate:
            crate.insert(slot)

    def do_reboot(self, seconds: float = 5.0) -> None:
        """the crate goes down for a while: all handles die, channels lose their voltage"""
        with self.present() as crate:
            crate.power_down()
            self._back_at, self._booting = self.clock() + seconds, True
            self._drop_sessions()

    def do_overcurrent(self, slot: int, channel: int) -> None:
        """the load drops to half of what the current limit can feed"""
        with self._slot(slot) as crate:
            victim = crate.channel(slot, channel)
            victim.resistance = victim.voltage_setting / (2 * victim.current_limit)

    def do_trip(self, slot: int, channel: int) -> None:
        """the channel trips"""
        with self._slot(slot) as crate:
            crate.channel(slot, channel).trip()

    def do_badchannel(self, slot: int, channel: int, bad: int = 1) -> None:
        """calls that include this channel fail (0: no more)"""
        with self._slot(slot) as crate:
            crate.channel(slot, channel).bad = bool(bad)

    def do_front(self, slot: int, channel: int, param: str, value: float) -> None:
        """somebody changes a setting at the front panel"""
        with self._slot(slot) as crate:
            node = crate.channel(slot, channel)
            node.check(param, value)
            node.put(param, value if isinstance(node.get(param), float) else int(value))

    def do_hang(self, seconds: float) -> None:
        """calls block inside the library"""
        self._hangs_until = self.clock() + seconds

    def do_lag(self, seconds: float) -> None:
        """settings read back only after a while"""
        self.model.lag = seconds

    @contextmanager
    def _slot(self, slot: int) -> Iterator[Crate]:
        """The model; what it refuses becomes a sentence."""
        with self.present() as crate:
            try:
                yield crate
            except CrateError as error:
                raise CommandError(f"slot {slot}: {error}") from None
