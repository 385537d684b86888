"""A crate on the network: logins, lost connections, and faults of the control channel; more of them: ``faults``."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar, Self

from sim.caen import library
from sim.caen.boards import demo_crate
from sim.caen.crate import Crate
from sim.caen.cratefaults import CrateFaults
from sim.caen.faults import Call, Fault
from sim.caen.header import Code
from sim.caen.login import GarbledAnswer, Login
from sim.caen.parameters import CrateError
from sim.caen.truth import truth
from sim.events import Scalar
from sim.fake import SPLIT_PAUSE, Clock, CommandError, Keys


class CrateFake(CrateFaults):
    """A crate that the fake C library can reach. With a username of None it accepts every login."""

    driver = "caen"
    # V, and the unit of the current
    deadbands: ClassVar[Mapping[str, float]] = {"VMon": 0.5, "IMon": 0.5}

    def __init__(
        self,
        crate: Crate,
        *,
        host: str = "",
        link: str = "TCPIP",
        username: str | None = None,
        password: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(crate, clock)
        # A step costs a microsecond a channel: the more channels, the fewer steps.
        self.shortest_step = 1e-4 * max(50, len(crate.all_channels()))
        self.longest_step = max(0.1, 2 * self.shortest_step)
        self.host = host
        self.link = link
        self.credentials = (username, password)
        self.patience = 0.5  # s until a call to a crate that is not there fails
        self.most_sessions = 4
        self.faults: list[Fault] = []
        self._logins: list[Login] = []
        self._cable = False
        self._back_at = -math.inf  # when it is up after a reboot
        self._hangs_until = -math.inf
        self._booting = False

    @classmethod
    def of(cls, keys: Keys, clock: Clock, *, crate: Callable[[str], Crate] = demo_crate) -> Self:
        """Make the crate of these keys; ``crate`` makes its model from the system type."""
        return cls(
            crate(keys.get("system", "SY4527")),
            host=str(keys["host"]),
            link=keys.get("link", "TCPIP"),
            username=keys.get("username"),
            password=keys.get("password"),
            clock=clock,
        )

    @classmethod
    def wire(cls, fakes: Sequence[Self]) -> AbstractContextManager[None]:
        """Replace the C library in this process by one that reaches these crates by host name."""
        return library.replaced({fake.host: fake for fake in fakes})

    @property
    def there(self) -> bool:
        """Return True while the crate is connected and up."""
        return self._cable and self.clock() >= self._back_at

    def plug(self) -> None:
        """Connect the crate to the network."""
        self._cable = True

    def unplug(self) -> None:
        """Take the crate off the network; its logins are lost."""
        self._cable = False
        self._drop_logins()

    def truth(self) -> dict[str, Scalar]:
        """Return the parameters, and whether calls reach the crate and come back."""
        hears = int(self.there and not self.muted and self.clock() >= self._hangs_until)
        return truth(self.model) | {"hears": hears, "answers": hears}

    def advance(self) -> None:
        """Step the model to the present, and boot it when a reboot is over."""
        super().advance()
        if self._booting and self.clock() >= self._back_at:
            self._booting = False
            self.model.boot()

    def login(self, system: str, link: str, username: str, password: str) -> Login:
        """Open a login. Raises CrateError when it is refused."""
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
        if len(self._logins) >= self.most_sessions:
            raise CrateError(Code.LOGINFAILED)
        login = Login(self, username)
        self._logins.append(login)
        self.record(f"login of {username}")
        self._update_sessions()
        return login

    def logout(self, login: Login) -> None:
        """Close a login. Raises CrateError when it was lost already."""
        if login not in self._logins:
            raise CrateError(Code.NOTCONNECTED)
        self._logins.remove(login)
        self.record(f"logout of {login.user}")
        self._update_sessions()

    def hit(self, call: Call) -> int | None:
        """Return the result code of a call that a fault hits, after its delay; else None."""
        return self._hit(call, late=False)

    def hit_late(self, call: Call) -> int | None:
        """Return the result code in place of the answer of a call that was carried out; else None."""
        return self._hit(call, late=True)

    def _hit(self, call: Call, late: bool) -> int | None:
        for fault in self.faults:
            if fault.late is late and fault.fits(call):
                time.sleep(fault.delay)
                if fault.code is not None:
                    place = f"{call.slot} {list(call.channels)} {call.name} {call.prop}"
                    self.record(f"{call.function} {place} -> {fault.code} (fault)")
                    return fault.code
        return None

    @contextmanager
    def call(self, login: Login, *, writes: bool) -> Iterator[Crate]:
        """Yield the model for one call of the library, with the faults between a call and its answer."""
        with self._alone(login):
            self._delay()
            if self.has_idled(login):
                self._lose(login)
            if not login.alive:
                self._refuse()
            self.writes += writes
            with self.present() as crate:
                crate.touched = 0
                yield crate
                touched = crate.touched
            time.sleep(self.channel_latency * touched)
            if self.muted:
                time.sleep(self.patience)
                raise CrateError(Code.TIMEERR)
            if self.garbled():
                raise GarbledAnswer

    @contextmanager
    def _alone(self, login: Login) -> Iterator[None]:
        """Let one thread into a handle and record a violation by a second: the real library mixes their answers."""
        if not login.busy.acquire(blocking=False):
            self.violate(f"thread {threading.current_thread().name} called while another was inside the same handle")
            login.busy.acquire()
        try:
            yield
        finally:
            login.busy.release()

    def _delay(self) -> None:
        hang = max(0.0, self._hangs_until - self.clock())
        time.sleep(self.latency + self.lateness() + hang)

    def _refuse(self) -> None:
        if self.there:
            raise CrateError(Code.NOTCONNECTED)
        time.sleep(self.patience)
        raise CrateError(Code.SOCKETERROR)

    def _lose(self, login: Login) -> None:
        if login.alive:
            login.alive = False
            self._logins.remove(login)
            self._update_sessions()

    def _drop_logins(self) -> None:
        for login in self._logins:
            login.alive = False
        self._logins.clear()
        self._update_sessions()

    def _update_sessions(self) -> None:
        self.model.sessions = [login.user for login in self._logins]

    def do_split(self, on: int = 1, pause: float = SPLIT_PAUSE) -> None:
        """Refuse: a call of the library has no halves."""
        raise CommandError("a call of the library has no halves to arrive in")

    def do_fail(self, function: str, code: int, n: float = math.inf, slot: int = -1, name: str = "") -> None:
        """Answer the next n calls of a function ("*": any) with a result code; of one slot, one parameter."""
        place = None if slot < 0 else slot
        self.faults.append(Fault(function=function.strip("*"), slot=place, name=name, code=code, left=n))

    def do_heal(self) -> None:
        """End all that fail has begun."""
        self.faults.clear()

    def do_pull(self, slot: int) -> None:
        """Take a board out."""
        with self.slot(slot) as crate:
            crate.pull(slot)

    def do_insert(self, slot: int) -> None:
        """Put the board back in, its channels off."""
        with self.slot(slot) as crate:
            crate.insert(slot)

    def do_reboot(self, seconds: float = 5.0) -> None:
        """Take the crate down for a while: all handles die, channels lose their voltage."""
        with self.present() as crate:
            crate.power_down()
            self._back_at, self._booting = self.clock() + seconds, True
            self._drop_logins()

    def do_trip(self, slot: int, channel: int) -> None:
        """Let the channel trip."""
        with self.slot(slot) as crate:
            crate.channel(slot, channel).trip()

    def do_badchannel(self, slot: int, channel: int, bad: int = 1) -> None:
        """Let calls that include this channel fail (0: no more)."""
        with self.slot(slot) as crate:
            crate.channel(slot, channel).bad = bool(bad)

    def do_front(self, slot: int, channel: int, param: str, value: float) -> None:
        """Change a setting at the front panel."""
        with self.slot(slot) as crate:
            node = crate.channel(slot, channel)
            node.check(param, value)
            node.put(param, value if isinstance(node.get(param), float) else int(value))

    def do_hang(self, seconds: float) -> None:
        """Let calls block inside the library."""
        self._hangs_until = self.clock() + seconds

    def do_lag(self, seconds: float) -> None:
        """Let settings read back only after a while."""
        self.model.lag = seconds
