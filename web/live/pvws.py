"""The web socket that web displays speak: PVWS (ornl-epics/pvws), so that those made by others work unchanged."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from starlette.types import Receive, Scope, Send

from web.access.visitor import Visitor
from web.live.frames import PING, text_frame
from web.live.hub import TURN, Hub, HubError
from web.live.puts import PutError, UnconfirmedError
from web.live.pv import Changed, Subscription

# PVs that one browser is shown at most.
MOST_PVS = 50_000
# PVs of one message that cannot be shown, after which the rest of it is not looked at: each takes time.
MOST_REFUSED = 100
# Bytes that are written to one browser at once: what it does not read waits here, and only so much. Over a slow
# network they take seconds, and are old then.
AT_ONCE = 16_000
# Answers that wait for one browser before its next message is looked at, and puts that have not ended.
MOST_ANSWERS, MOST_PUTS = 100, 200

# Web sockets of one address, at most: half of what there can be of all, and how one more is closed (try again later).
MOST_OF_ONE, LATER = 200, 1013
# Seconds from one look at what the visitor may to the next, and how the web socket is closed of one who may not see.
RIGHTS_S, POLICY = 5.0, 1008

_READONLY = int(Changed.VALUE | Changed.READONLY)
_ALL = int(Changed.ALL)


class Refused(Exception):
    """A message that cannot be carried out: a sentence for the user."""


# Puts a value to a PV for somebody; raises PutError, HubError. The last arguments: whether they have confirmed it,
# and when they asked for it, by the clock that is told here, if that is known.
Put = Callable[[Visitor, str, object, bool, float | None], Any]


class Answer:
    """An answer that waits: its frame."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame


class Browser:
    """One web socket: its subscriptions, what is new to it, and answers that wait."""

    def __init__(self, hub: Hub, visitor: Visitor, put: Put, may_put: bool) -> None:
        self._hub = hub
        self._visitor = visitor
        self._put = put
        self._may_put = may_put
        self._subscriptions: dict[str, Subscription] = {}
        # what has to be sent, in this order: of a PV what is new, or the frame of an answer
        self._due: dict[Subscription | Answer, int] = {}
        self._answers = 0
        self._ready = asyncio.Event()
        self._read = asyncio.Event()
        self._puts: set[asyncio.Task[None]] = set()

    def changed(self, subscription: Subscription, what: int) -> None:
        """Note that something of a PV is new; what is sent later is the newest then."""
        self._due[subscription] = self._due.get(subscription, 0) | what
        self._ready.set()

    def let_put(self, may_put: bool) -> None:
        """Note whether the visitor may put now, and tell it of each PV that is shown."""
        if may_put == self._may_put:
            return
        self._may_put = may_put
        for subscription in self._subscriptions.values():
            if subscription.pv.update is not None:
                self.changed(subscription, _READONLY)

    async def send(self, send: Send) -> NoReturn:
        """Send what is new until the connection ends, as fast as it is read."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while frames := b"".join(self._take()):
                await send({"type": "websocket.send", "frames": frames})

    async def receive(self, text: str) -> None:
        """Carry out a message."""
        try:
            self._carry_out(_parse(text), text)
        except (Refused, HubError) as error:
            self._answer({"type": "error", "message": str(error)})
        while self._answers > MOST_ANSWERS:
            self._read.clear()
            await self._read.wait()

    def close(self) -> None:
        """End all subscriptions; puts that have begun go on."""
        self._clear(list(self._subscriptions))

    def _take(self) -> Iterator[bytes]:
        """Yield what is sent next. Who has an answer has what was new when it was asked for: it is behind that."""
        size, first = 0, []
        while self._due and size < AT_ONCE:
            due = next(iter(self._due))
            what = self._due.pop(due)
            if isinstance(due, Answer):
                self._answers -= 1
                frame = due.frame
            else:
                frame = due.pv.frame(due.name, what, self._may_put)
                if what == _ALL:
                    first.append(due)
            size += len(frame)
            yield frame
        self._read.set()
        if first:
            # cs-web-lib overlooks readonly in the first message of a PV
            asyncio.get_running_loop().call_later(TURN, self._tell_rights, first)

    def _tell_rights(self, subscriptions: list[Subscription]) -> None:
        for subscription in subscriptions:
            if subscription.name in self._subscriptions:
                self.changed(subscription, _READONLY)

    def _carry_out(self, message: dict[str, Any], text: str) -> None:
        match message.get("type"):
            case "subscribe" | "monitor":
                self._subscribe(_names(message))
            case "clear":
                self._clear(_names(message))
            case "list":
                self._answer({"type": "list", "pvs": list(self._subscriptions)})
            case "write":
                self._write(message)
            case "clock":
                self._answer({"type": "clock", "clock": time.monotonic()})
            case "ping":
                self._send(PING)
            case "echo":
                self._send(text_frame(text.encode()))
            case kind:
                raise Refused(
                    f"{kind!r} is no type of message; there are subscribe, clear, list, write, clock, ping and echo"
                )

    def _subscribe(self, names: list[str]) -> None:
        """Show PVs: a few that cannot be shown keep none of the others out, and the first of them is told."""
        refusals: list[Exception] = []
        for name in names:
            try:
                self._show(name)
            except (Refused, HubError) as error:
                refusals.append(error)
                if len(refusals) == MOST_REFUSED:
                    break
        if refusals:
            raise refusals[0]

    def _show(self, name: str) -> None:
        if name in self._subscriptions:
            return
        if len(self._subscriptions) >= MOST_PVS:
            raise Refused(f"{name} is not shown: a browser is shown {MOST_PVS} PVs at most")
        self._subscriptions[name] = self._hub.subscribe(self, name)

    def _clear(self, names: list[str]) -> None:
        for name in names:
            if subscription := self._subscriptions.pop(name, None):
                self._hub.unsubscribe(subscription)
                self._due.pop(subscription, None)

    def _write(self, message: dict[str, Any]) -> None:
        name = message.get("pv")
        if not isinstance(name, str) or "value" not in message:
            raise Refused("a message of type write has pv, a name, and value")
        _at(message)
        if len(self._puts) >= MOST_PUTS:
            raise Refused(f"{name} was not put: {MOST_PUTS} puts of this browser have not ended yet")
        task = asyncio.create_task(self._write_and_answer(name, message))
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def _write_and_answer(self, name: str, message: dict[str, Any]) -> None:
        """Put, and tell a refusal; also tell success where the message has an ``id``, which PVWS does not know."""
        number = message.get("id")
        mark = {} if number is None else {"pv": name, "id": number}
        try:
            await self._put(self._visitor, name, message["value"], message.get("confirmed") is True, _at(message))
        except (PutError, HubError) as error:
            confirm = {"confirm": error.why} if isinstance(error, UnconfirmedError) else {}
            self._answer({"type": "error", "message": str(error), **mark, **confirm})
        else:
            if mark:
                self._answer({"type": "written", **mark})

    def _answer(self, message: dict[str, Any]) -> None:
        self._send(_frame(message))

    def _send(self, frame: bytes) -> None:
        self._due[Answer(frame)] = 0
        self._answers += 1
        self._ready.set()


class WebSocket:
    """The ASGI application at the address of the web socket.

    ``visitor`` returns who asks for a connection; ``may_see`` and ``may_put`` what they may.
    """

    def __init__(
        self,
        hub: Hub,
        visitor: Callable[[Scope], Visitor],
        may_see: Callable[[Visitor], bool],
        may_put: Callable[[Visitor], bool],
        put: Put,
    ) -> None:
        self._hub = hub
        self._visitor = visitor
        self._may_see = may_see
        self._may_put = may_put
        self._put = put
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one web socket until it is closed."""
        await receive()
        await send({"type": "websocket.accept"})
        visitor = self._visitor(scope)
        try:
            self._admit(visitor.address)
        except Refused as error:
            await send({"type": "websocket.send", "frames": _frame({"type": "error", "message": str(error)})})
            await send({"type": "websocket.close", "code": LATER})
            return
        try:
            await self._serve(visitor, receive, send)
        finally:
            self._open[visitor.address] -= 1
            if not self._open[visitor.address]:
                del self._open[visitor.address]

    def _admit(self, address: str) -> None:
        """Count one more web socket of an address. Raises Refused."""
        if self._open[address] >= MOST_OF_ONE:
            raise Refused(f"{address} has {MOST_OF_ONE} web sockets: close some pages")
        self._open[address] += 1

    async def _serve(self, visitor: Visitor, receive: Receive, send: Send) -> None:
        browser = Browser(self._hub, visitor, self._put, self._may_put(visitor))
        tasks = [asyncio.create_task(browser.send(send)), asyncio.create_task(self._watch(visitor, browser, send))]
        try:
            while (message := await receive())["type"] == "websocket.receive":
                await browser.receive(message.get("text") or "")
        finally:
            for task in tasks:
                task.cancel()
            browser.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, visitor: Visitor, browser: Browser, send: Send) -> None:
        """Look what the visitor may: the session ends, the file of logins changes. Who may see no more is cut off."""
        while self._may_see(visitor):
            browser.let_put(self._may_put(visitor))
            await asyncio.sleep(RIGHTS_S)
        await send({"type": "websocket.close", "code": POLICY})


def _frame(message: dict[str, Any]) -> bytes:
    return text_frame(json.dumps(message).encode())


def _parse(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("a message is a JSON object") from None
    if not isinstance(message, dict):
        raise Refused("a message is a JSON object")
    if _has_halves(text, message):
        raise Refused("a message has a character that is none: half of a pair, \\ud800 to \\udfff")
    return message


def _has_halves(text: str, message: object) -> bool:
    """Return whether a text of a message cannot be written: JSON can have halves of characters, as escapes alone."""
    if "\\ud" not in text.lower():
        return False
    try:
        json.dumps(message, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _at(message: dict[str, Any]) -> float | None:
    """Return when a put was asked for, None if that is not told."""
    at = message.get("at")
    if at is None:
        return None
    if isinstance(at, bool) or not isinstance(at, int | float) or not -1e12 < at < 1e12:
        raise Refused('at is a time in seconds, by the clock that {"type": "clock"} is answered with')
    return float(at)


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _names(message: dict[str, Any]) -> list[str]:
    names = message.get("pvs")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(f"a message of type {message['type']} has pvs, a list of names")
    return names
