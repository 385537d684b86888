"""The C library's functions: the types of their arguments, and Python that can be called as one of them.

Source: CAENHVWrapper.h.
"""

from __future__ import annotations

import ctypes as ct
import logging
from collections.abc import Callable
from typing import Any

from sim.caen.header import Code
from sim.caen.memory import PTR, SHORT, UINT, USHORT

# Types of the arguments behind the handle. All pointers are addresses here.
CALLS: dict[str, tuple[Any, ...]] = {
    "GetCrateMap": (PTR,) * 7,
    "GetSysPropList": (PTR, PTR),
    "GetSysPropInfo": (PTR, PTR, PTR),
    "GetSysProp": (PTR, PTR),
    "SetSysProp": (PTR, PTR),
    "GetBdParam": (USHORT, PTR, PTR, PTR),
    "SetBdParam": (USHORT, PTR, PTR, PTR),
    "GetBdParamProp": (USHORT, PTR, PTR, PTR),
    "GetBdParamInfo": (USHORT, PTR),
    "TestBdPresence": (USHORT, PTR, PTR, PTR, PTR, PTR, PTR),
    "GetChParamProp": (USHORT, USHORT, PTR, PTR, PTR),
    "GetChParamInfo": (USHORT, USHORT, PTR, PTR),
    "GetChName": (USHORT, USHORT, PTR, PTR),
    "SetChName": (USHORT, USHORT, PTR, PTR),
    "GetChParam": (USHORT, PTR, USHORT, PTR, PTR),
    "SetChParam": (USHORT, PTR, USHORT, PTR, PTR),
    "GetExecCommList": (PTR, PTR),
    "ExecComm": (PTR,),
}
EVENT_CALLS: dict[str, tuple[Any, ...]] = {
    "SystemParams": (SHORT, PTR, UINT, PTR),
    "BoardParams": (SHORT, USHORT, PTR, UINT, PTR),
    "ChannelParams": (SHORT, USHORT, USHORT, PTR, UINT, PTR),
}


def c_function(name: str, result: Any, arguments: tuple[Any, ...], body: Callable[..., int]) -> tuple[str, Any]:
    """Return a name and its C function, with the attributes that ctypes gives to a function of a library."""

    def guarded(*values: Any) -> int:
        try:
            return body(*values)
        except Exception:
            logging.getLogger(__name__).exception("the fake %s failed", name)
            return Code.SYSERR

    function: Any = ct.CFUNCTYPE(result, *arguments)(guarded)
    function.__name__ = name
    return name, function
