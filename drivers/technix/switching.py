"""How high voltage is switched: the pairs of commands that the generator needs, and how each of them ends as HV off.

The manual asks for 100 ms between the reply to the first command of a pair and the second. It does not say which of
the two takes effect, nor what a lone second one does. So a pair whose outcome is unknown is followed by HV off, and
HV off is over when the status byte shows that HV is off and that both pairs are released.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing

from drivers.base import BadReply, DeviceError, LinkDown, NotShown, Refused, Step, Wait
from drivers.technix.line import QUIET, REPLY_TIMEOUT, Line, Sent
from drivers.technix.points import HV, INHIBIT, LOCAL, OFF_CMD, ON_CMD
from drivers.technix.setpoints import Setpoints
from drivers.technix.status import SETTLE, StatusByte

# Seconds between the reply to the first half of P5/P6 and the second half; the manual asks for 0.1
PAUSE = 0.11
# Seconds after which the second half of HV on is not sent any more: an Off put meanwhile may not be known yet
LONGEST_PAUSE = 2.0
# Seconds that the pause may be longer than asked for without another one behind it
LATE = 0.03
# Seconds without a reply after which the second half of HV off is sent all the same to a generator whose replies come
# late: a second half before its reply to the first has no effect
PATIENCE = 3.5
# While nothing is understood at all, one HV off in so many waits as long: replies may be late without a sign of it
PATIENT_ONE = 3
# Seconds between two tries to complete what was left half done
TIDY_PERIOD = 1.0

_STUCK = "the inhibition under which an HV on was released does not end"


class Switching:
    """HV on and off, and what is left half done of them."""

    def __init__(self, line: Line, status: StatusByte, setpoints: Setpoints) -> None:
        self._line = line
        self._status = status
        self._setpoints = setpoints
        self._holder: Iterator[Step] | None = None
        self._ending = 0  # HV off is being carried out, by so many
        self._second: Sent | None = None  # the second half of the last HV off
        self._half_off = False  # the line went down within HV off
        self._unheard: list[float] = []  # when HV offs were sent since anything was understood (monotonic s)
        self._inhibited = False  # by this process, to release an HV on
        self._released = False  # an HV on, which that may have switched on: HV off is not shown since
        self._tidied_at = 0.0
        self._let_out_at = 0.0  # when the end of an own inhibition was sent last
        self._stuck = False  # that one had no effect

    def reset(self) -> None:
        """Begin anew, over another connection."""
        self._holder = None

    def own_inhibition(self) -> None:
        """Note that inhibition is what somebody put: it is not to be released."""
        self._inhibited = self._stuck = False

    def free(self) -> Iterator[Step]:
        """Wait until nothing may come between two commands any more."""
        while self._holder is not None:
            yield Wait(QUIET)

    def settled(self, mask: int, wanted: int) -> Iterator[Step]:
        """Read the status until its ``mask`` is as wanted, or it has had the time for that."""
        deadline = time.monotonic() + SETTLE
        yield Wait()
        while True:
            yield self._status.ask()
            if self._status.bits & mask == wanted or time.monotonic() >= deadline:
                return
            yield Wait(QUIET)

    def on(self) -> Iterator[Step]:
        """Send the P5 pair. What fails is followed by HV off; raises Refused only when that shows."""
        try:
            yield from self._press_on()
        except LinkDown as error:
            raise LinkDown(f"HV on failed: {error}") from error
        except DeviceError as error:
            yield from self._end_as_off(f"HV on failed: {error}")

    def finish(self) -> Iterator[Step]:
        """End an HV on that is being ended, or was released, before another one that would end with it.

        Raises DeviceError.
        """
        while self._ending:
            yield Wait(QUIET)
        if self._inhibited or self._released:
            yield from self.off()
            if self._inhibited:
                raise BadReply(_STUCK)
            yield Wait()

    def off(self) -> Iterator[Step]:
        """Send the P6 pair at once, then look; complete an HV on that was left half given, whoever left it.

        Raises Refused if the status shows that HV is not off.
        """
        self._status.note_on(begun=True)
        self._ending += 1
        try:
            yield from self._exclusively(self.pulse_off())
            if self._second is not None and self._second.number is None:
                yield from self._repeat_second_half()
            yield from self.settled(HV | OFF_CMD, 0)
            local = self._status.bits & LOCAL
            if self._status.bits & ON_CMD and not local:
                yield from self._exclusively(self._release_on())
            if self._status.bits & (HV | OFF_CMD | (0 if local else ON_CMD)):
                sentence = f"HV Off was sent, but the generator does not show it (status {self._status.bits})"
                if local:
                    sentence = f"{sentence}; it is in local mode: put Mode Remote, or press HV off on its front panel"
                raise NotShown(sentence)
            self._released = False
            if self._inhibited:
                yield from self._end_inhibition()
        finally:
            self._ending -= 1

    def pulse_off(self) -> Generator[Step]:
        """Send the P6 pair, answered or not: it may arrive where no reply comes back.

        The pause begins with the reply to the first half, for which it waits longer if the replies come late.
        """
        if self._half_off:  # a peer that closes the line at each command gets the second half, too
            release = self._line.send("P6,0")
            self._half_off = False  # now: if the line goes down again, the next try begins with the first half
            self._line.await_reply(release, REPLY_TIMEOUT)
            yield Wait()
            time.sleep(PAUSE)
        patience = self._patience()
        self._half_off = True
        first = self._line.send("P6,1")
        try:
            while not self._line.await_reply(first, REPLY_TIMEOUT) and self._line.is_awaited(first, patience):
                yield Wait()
        finally:  # also where it is given up, at a stop: no half is left behind
            time.sleep(PAUSE)
            self._second = self._line.send("P6,0")
        self._half_off = False
        self._line.await_reply(self._second, 2 * QUIET)

    def _patience(self) -> float:
        """Return the seconds without a reply that the first half of HV off waits for its own."""
        now, understood = time.monotonic(), self._line.understood_at
        self._unheard = [at for at in self._unheard if understood is None or at > understood]
        self._unheard.append(now)
        late = self._line.slow("P6", "E", "a1", "a2") or len(self._unheard) % PATIENT_ONE == 0
        return PATIENCE if late else REPLY_TIMEOUT

    def tidy(self) -> Iterator[Step]:
        """Complete what was left half done, at first sight in the status: an HV off of anybody, an own HV on.

        An HV on of somebody else is not touched: its second half may switch HV on. In local mode an own one is left
        as well: there HV on cannot be given, and the front panel is in control; what is on is the panel's.
        """
        bits, now = self._status.bits, time.monotonic()
        local = bool(bits & LOCAL)
        self._released = self._released and not local
        begun = self._status.begun or self._released
        free = not self._ending and self._holder is None
        due = free and now - self._tidied_at >= TIDY_PERIOD
        if due and bits & OFF_CMD:
            self._tidied_at = now
            time.sleep(PAUSE)
            self._line.await_reply(self._line.send("P6,0"), REPLY_TIMEOUT)
            yield Wait()
            yield self._status.ask()
        elif self._inhibited and not bits & (HV | OFF_CMD) and (local or not begun):
            if free and now - self._let_out_at >= TIDY_PERIOD:
                yield from self._end_inhibition()
        elif due and not local and (begun or self._inhibited):
            self._tidied_at = now
            yield from self.off()
        if self._status.begun and local and not bits & OFF_CMD:
            raise BadReply("HV on is left half given, and cannot be released in local mode: put Mode Remote")
        if self._stuck:
            raise BadReply(_STUCK)

    def _repeat_second_half(self) -> Iterator[Step]:
        """Send the second half of HV off again at once, if the status shows that it was not heard."""
        yield Wait()
        yield self._status.ask()
        if self._status.bits & OFF_CMD:
            self._second = self._line.send("P6,0")
            self._line.await_reply(self._second, 2 * QUIET)

    def _end_inhibition(self) -> Iterator[Step]:
        """End the inhibition under which an HV on was to be released; until that shows it is an own one."""
        self._let_out_at = time.monotonic()
        self._line.ask("P8,0")
        yield from self.settled(INHIBIT, 0)
        if not self._status.bits & INHIBIT:  # else leave what ``own_inhibition`` has noted meanwhile
            self._inhibited = False
        self._stuck = self._inhibited

    def _press_on(self) -> Iterator[Step]:
        try:
            yield from self._exclusively(self._pulse_on())
            yield from self.settled(HV | ON_CMD, HV)
        except BaseException:  # also when this is given up half-way
            self._status.note_on(begun=True)
            raise
        if self._status.bits & (HV | ON_CMD) != HV:
            # Without an obstacle it could still come on after the put has failed.
            raise BadReply("; ".join(self._status.obstacles()) or f"it did not come on within {SETTLE:g} s")

    def _pulse_on(self) -> Generator[Step]:
        """Send the P5 pair. In its pause what makes things safe may come: then the second half is not sent."""
        self._status.note_on(begun=False)
        self._released = False
        self._line.ask("P5,1")
        answered = time.monotonic()
        yield {}
        yield Wait(PAUSE)
        if time.monotonic() - answered > PAUSE + LATE:
            yield Wait(QUIET)  # an Off that was put while this computer stood still is heard now
        if (pause := time.monotonic() - answered) > LONGEST_PAUSE:
            raise BadReply(f"this computer stood still for {pause:.1f} s between its two commands")
        self._status.listen()
        if unknown := self._setpoints.obstacles():
            raise BadReply("; ".join(unknown))
        self._line.ask("P5,0")

    def _end_as_off(self, failure: str) -> Iterator[Step]:
        try:
            yield from self.off()
        except Refused as error:
            raise BadReply(f"{failure}; {error}") from error
        except DeviceError as error:
            raise type(error)(f"{failure}; HV off was sent, its effect is unknown: {error}") from error
        raise Refused(f"{failure}; HV off was sent")

    def _release_on(self) -> Generator[Step]:
        """Release an HV on that was left half given, under inhibition, and send HV off after it.

        The manual does not say whether the release is what switches HV on: it is sent only while the status shows
        inhibition.
        """
        if self._line.switched.get("P8") == "P8,0":  # inhibition that shows may be that of before the command
            yield from self.settled(INHIBIT, 0)
        if not self._status.bits & INHIBIT:
            if self._line.switched.get("P8") != "P8,1":  # else it was put, and the status does not show it yet
                self._inhibited = True
            self._line.ask("P8,1")
            yield from self.settled(INHIBIT, INHIBIT)
        if not self._status.bits & INHIBIT:
            raise BadReply("HV on is left half given: not released, because the status does not show inhibition")
        self._released = True
        self._line.await_reply(self._line.send("P5,0"), REPLY_TIMEOUT)
        yield Wait()
        yield from self.pulse_off()
        yield from self.settled(HV | ON_CMD | OFF_CMD, 0)

    def _exclusively(self, steps: Generator[Step]) -> Iterator[Step]:
        """Do steps between which nothing else is sent; end them early when HV off takes the line over."""
        self._holder = steps
        try:
            with closing(steps):  # left to Python, an error in what makes them whole would be told to nobody
                for step in steps:
                    yield step
                    if self._holder is not steps:
                        return
        finally:
            if self._holder is steps:
                self._holder = None
