"""What another user of this computer sees; only root may become one."""

from __future__ import annotations

import os
from collections.abc import Callable


def as_user(number: int, action: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Return the code and the text that an action returns in a child that is another user; 1 and what it raises."""
    reads, writes = os.pipe()
    if not (child := os.fork()):
        try:
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            code, text = action()
        except BaseException as error:
            code, text = 1, f"{type(error).__name__}: {error}"
        os.write(writes, text.encode())
        os._exit(code)
    os.close(writes)
    with os.fdopen(reads) as out:
        text = out.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text
