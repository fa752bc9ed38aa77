"""Whether this is a signal handler, or a finaliser, in the middle of something.

Python runs both between any two steps of whatever a thread does. A lock that is held there is let go only when they have
returned: to wait for it would be to wait for ever, and no lock can tell that from one that another thread has.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType


def interrupts(functions: frozenset[CodeType]) -> bool:
    """Whether one of these is under way in this thread, further out than the caller."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code in functions:
            return True
        frame = frame.f_back
    return False
