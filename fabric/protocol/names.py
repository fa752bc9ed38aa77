"""The grammar of endpoint and node names.

    name         1–255 bytes of UTF-8 without white space, control or format characters; neither `*` nor `anonymous:…`
    `*`          as the receiver of a message: every endpoint but the sender's
    anonymous:…  the sender of a message from a node or program without a registered name (a claim: nobody checks it)

Names appear in terminals and log lines, where a bidi mark, a zero-width space or a line feed misleads a reader. Topics
follow the same rule for their characters (`check_characters`), and have a grammar of their own (`fabric.protocol.topics`).
"""

from __future__ import annotations

import unicodedata

#: Bytes of a name in UTF-8.
MAX_NAME = 255
#: `to` of a broadcast. No endpoint can have this name.
EVERYBODY = "*"
#: Prefix of the `from` of a sender without a registered name. No endpoint's name may start with it.
ANONYMOUS = "anonymous:"


def check_name(name: str, what: str = "endpoint") -> str:
    """Return `name` if an endpoint, or a node (`what`), may have it. ValueError says why not; TypeError if it is no str."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an {what} is a str such as 'lead-agent', not {type(name).__name__}")
    if not name:
        raise ValueError(f"the name of an {what} must not be empty: give it one, such as 'lead-agent'")
    if name == EVERYBODY:
        raise ValueError(f"no {what} can be called {EVERYBODY!r}: that addresses everybody, choose a name of its own")
    if name.startswith(ANONYMOUS):
        raise ValueError(f"{what} name {name!r}: {ANONYMOUS!r} marks senders without a name, leave that prefix out")
    check_characters(name, f"{what} name", MAX_NAME)
    return name


def check_claim(name: str) -> str:
    """Return `name` if it is an anonymous sender: `anonymous:` and the characters of a name. ValueError if not."""
    if not name.startswith(ANONYMOUS):
        raise ValueError(f"{name!r} does not start with {ANONYMOUS!r}")
    check_characters(name[len(ANONYMOUS) :] or name, "anonymous sender name", MAX_NAME)
    return name


def check_characters(text: str, what: str, limit: int) -> None:
    """ValueError, about `what`, for text over `limit` bytes of UTF-8, or with a character that a name must not have."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} {text!r} is no valid Unicode: {error.reason}") from None
    if size > limit:
        raise ValueError(f"{what} {text[:40] + '…'!r} is {size} bytes long, {limit} are allowed")
    if not text.isascii() or not text.isprintable() or " " in text:
        for character in text:
            # Cc control, Cf format (bidi, zero width), Cs surrogate, Co private, Cn unassigned, Z* white space.
            if unicodedata.category(character)[0] in "CZ":
                raise ValueError(f"{what} {text!r} has white space or a control character in it: {character!r}")
