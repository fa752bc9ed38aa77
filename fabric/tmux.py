"""Types a text into a tmux pane: as text and nothing else, and says so when that did not happen.

    tmux.type_text("work", "the build is green")            # and Enter

tmux would take key names for keys, a semicolon at the end of an argument for the end of a command, a session's name for the
beginning of another one's, and an Enter that comes too soon for a part of a paste. None of that happens here: the text goes
through `send-keys -l` in pieces that fit, to a pane that was looked up by its exact name, and the Enter comes by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from time import sleep
from typing import NamedTuple

from fabric.errors import FabricError
from fabric.system.terminal import safe

#: Seconds that tmux has to answer.
TIMEOUT = 5.0
#: Seconds between the text and Enter: applications take what comes at once for a paste, and its line end for a part of it.
DELAY = 0.3
#: Bytes of one call; tmux's own limit is 16 KB for a command with all its arguments.
PIECE = 4_000
LINES = ("join", "paste", "enter")


class PaneError(FabricError):
    """Nothing was typed, or not all of it."""


class NoSuchPane(PaneError):
    """There is no such pane, or no tmux."""


def type_text(
    target: str,
    text: str,
    *,
    enter: bool = True,
    interrupt: bool = False,
    lines: str = "join",
    raw: bool = False,
    delay: float = DELAY,
) -> str:
    """Type `text` into the pane `target`, a session's exact name, `session:window.pane` or an id (`%3`). The pane's id.

    `lines` says what becomes of line breaks: `join` makes spaces of them, `paste` hands the text over as a paste (which an
    application that does not know pastes takes for lines, each entered), `enter` types each line with an Enter. Control
    and invisible characters are typed as `\\u001b`, unless `raw`. `interrupt` sends Ctrl-C first; `enter=False` leaves the
    text standing. NoSuchPane or PaneError say what is in the way; nothing has been typed then, unless they say so.
    """
    if lines not in LINES:
        raise ValueError(f"{lines!r} is none of {', '.join(LINES)}")
    pane = _pane(target)
    parts = prepared(text, lines=lines, raw=raw)
    if interrupt:
        _tmux("send-keys", "-t", pane, "C-c")
        sleep(delay)
    for number, part in enumerate(parts):
        if number:
            _enter(pane, delay)
        if lines == "paste" and "\n" in part:
            _paste(pane, part)
        else:
            for piece in pieces(part):
                _tmux("send-keys", "-l", "-t", pane, "--", piece)
    if enter:
        _enter(pane, delay)
    return pane


def prepared(text: str, *, lines: str, raw: bool) -> list[str]:
    """What is typed, with an Enter between the parts. Pure."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    split = text.split("\n")
    if not raw:
        # A tabulator completes what is typed, in a shell.
        split = [" ".join(safe(part) for part in line.split("\t")) for line in split]
    if lines == "enter":
        return split
    if lines == "paste":
        return ["\n".join(split)]
    return [" ".join(line for line in (each.strip() for each in split) if line)] if len(split) > 1 else split


def pieces(text: str, limit: int = PIECE) -> Iterator[str]:
    """`text` as arguments of tmux, each of at most `limit` bytes. Pure."""
    piece: list[str] = []
    size = 0
    for character in text:
        cost = len(character.encode(errors="surrogatepass"))
        if size + cost > limit:
            yield _argument("".join(piece))
            piece, size = [], 0
        piece.append(character)
        size += cost
    if piece:
        yield _argument("".join(piece))


def _argument(text: str) -> str:
    # A semicolon at the end of an argument ends the command.
    return f"{text[:-1]}\\;" if text.endswith(";") else text


def _pane(target: str) -> str:
    """The pane's id: from here on nobody can rename it under our hands."""
    if not target or safe(target) != target:
        raise NoSuchPane(f"{safe(target)!r} is no name of a tmux session")
    # Looked up here: tmux takes the beginning of a name for a name, and the active pane for one that there is not.
    known = [
        _Pane(*line.split("\t", len(_FACTS) - 1)) for line in _tmux("list-panes", "-a", "-F", _FORMAT).splitlines()
    ]
    found = next((pane for pane in known if pane.is_called(target)), None)
    if found is None:
        names = ", ".join(repr(name) for name in dict.fromkeys(safe(pane.session_name) for pane in known))
        raise NoSuchPane(f"tmux has no session or pane {target!r}{f'; there are {names}' if names else ''}")
    if found.pane_dead == "1":
        raise PaneError(f"the program in {target!r} has ended")
    if found.pane_in_mode not in ("", "0"):
        raise PaneError(f"somebody is reading back in {target!r} (copy mode): what is typed would go there")
    if found.pane_input_off == "1":
        raise PaneError(f"the pane {target!r} takes no input (select-pane -d)")
    if found.pane_synchronized == "1":
        raise PaneError(f"the panes of {target!r} are synchronised: all of them would get the text")
    return found.pane_id


class _Pane(NamedTuple):
    """A pane as tmux lists it."""

    pane_id: str
    session_name: str
    window_index: str
    window_active: str
    pane_index: str
    pane_active: str
    pane_dead: str
    pane_in_mode: str
    pane_input_off: str
    pane_synchronized: str
    window_name: str

    def is_called(self, target: str) -> bool:
        """Whether `target` is its id, or its session, window (index or name) and pane; by default the active ones."""
        if target == self.pane_id:
            return True
        session, _, rest = target.partition(":")
        window, dot, pane = rest.rpartition(".")
        if not (dot and pane.isdecimal()):
            window, pane = rest, ""
        return (
            session == self.session_name
            and (window in (self.window_index, self.window_name) if window else self.window_active == "1")
            and (pane == self.pane_index if pane else self.pane_active == "1")
        )


_FACTS = _Pane._fields
_FORMAT = "\t".join(f"#{{{fact}}}" for fact in _FACTS)


def _enter(pane: str, delay: float) -> None:
    sleep(delay)
    _tmux("send-keys", "-t", pane, "Enter")


def _paste(pane: str, text: str) -> None:
    buffer = f"fabric-{pane}"
    _tmux("load-buffer", "-b", buffer, "-", data=text)
    _tmux("paste-buffer", "-p", "-d", "-b", buffer, "-t", pane)


def _tmux(*arguments: str, data: str = "") -> str:
    program = shutil.which("tmux")
    if program is None:
        raise NoSuchPane("there is no tmux here: install it with: apt-get install tmux")
    try:
        ran = subprocess.run(
            [program, *arguments],
            input=data.encode(errors="replace"),
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PaneError(f"tmux did not answer within {TIMEOUT:g} s to: {arguments[0]}") from None
    except (OSError, ValueError) as error:
        raise PaneError(f"tmux could not be run: {error}") from None
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip() or f"exit status {ran.returncode}"
        kind = NoSuchPane if _is_absence(said) else PaneError
        raise kind(f"tmux: {safe(said)}")
    return ran.stdout.decode(errors="replace")


def _is_absence(said: str) -> bool:
    return any(word in said for word in ("no server running", "can't find", "error connecting"))


def session_name() -> str:
    """The tmux session that this process runs in; empty if it is in none, or tmux does not say."""
    if not os.environ.get("TMUX"):
        return ""
    where: Sequence[str] = ("-t", pane) if (pane := os.environ.get("TMUX_PANE", "")) else ()
    try:
        return _tmux("display-message", "-p", *where, "#{session_name}").strip()
    except PaneError:
        return ""
