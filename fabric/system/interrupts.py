"""Detects re-entrance: whether the caller is a signal handler or a finaliser that interrupted given functions.

Python runs both between any two bytecode instructions of a thread. A lock that the interrupted function holds is released
only after they have returned: waiting for it would be a deadlock, and a lock cannot be asked whether its holder is another
thread. The call stack can.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType


def interrupts(functions: frozenset[CodeType]) -> bool:
    """Whether a call of one of these functions is on this thread's stack, further out than the caller of this function."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code in functions:
            return True
        frame = frame.f_back
    return False
