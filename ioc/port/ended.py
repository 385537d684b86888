"""The end of what somebody waits for, in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any


class Ended(asyncio.Future["Ended | None"]):
    """The end of a put; of one that was replaced: the end of the one that took its place."""

    def __init__(self) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self._hear: list[Callable[[Ended], None]] = []

    def tells(self, hear: Callable[[Ended], None]) -> None:
        """Let somebody hear the end: at once with ``tell``, else as who else waits, in a later turn of the loop."""
        if not self._hear:
            self.add_done_callback(lambda _: self.tell())
        self._hear.append(hear)

    def tell(self) -> None:
        """Tell those that want to hear it at once, before the record changes anew."""
        hear, self._hear = self._hear, []
        for each in hear:
            try:
                each(self)
            except Exception as error:  # the others have no part in it
                message = f"who waits for a put failed: {each}"
                self.get_loop().call_exception_handler({"message": message, "exception": error})


def succeed(ended: asyncio.Future[Any], result: object = None) -> None:
    """End well what somebody waits for, unless who waited is gone."""
    if not ended.done():
        ended.set_result(result)


def fail(ended: asyncio.Future[Any], error: BaseException) -> None:
    """End with an error what somebody waits for, unless who waited is gone.

    That nobody asks for the error, as at a stop, is no fault that asyncio should log.
    """
    if not ended.done():
        ended.set_exception(error)
        ended.exception()


def end_all(waiting: Iterable[Ended], error: BaseException | None) -> None:
    """End what some wait for, well or with an error; each looks at the records before the next put changes them."""
    for each in waiting:
        if error is None:
            succeed(each)
        else:
            fail(each, error)
        each.tell()
