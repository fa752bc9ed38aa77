"""Types a text into a tmux pane, literally, with errors for everything that prevents it.

    tmux.type_text("work", "the build is green")            # and Enter

By itself tmux interprets key names as keys, a semicolon at the end of an argument as the end of a command, and a target as
a prefix of a session's name; applications take an Enter that follows too soon for part of a paste. So the text is sent with
`send-keys -l`, in pieces that fit, to a pane that was looked up by its exact name, and Enter is sent after a delay.
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

#: Seconds for one call of tmux.
TIMEOUT = 5.0
#: Seconds between the text and Enter: applications take input that comes at once for a paste, with its line end.
DELAY = 0.3
#: Bytes of text in one call; tmux's own limit is 16 KB for a command with all its arguments.
MAX_PIECE = 4_000
#: Ways to type line breaks.
LINES = ("join", "paste", "enter")


class PaneError(FabricError):
    """The text was not typed, or not all of it."""


class NoSuchPane(PaneError):
    """The pane does not exist, or tmux is not installed."""


def type_text(
    target: str,
    text: str,
    *,
    enter: bool = True,
    interrupt: bool = False,
    lines: str = "join",
    raw: bool = False,
    delay: float = DELAY,
    timeout: float = TIMEOUT,
) -> str:
    """Type `text` into the pane `target`: a session's exact name, `session:window.pane` or an id (`%3`). Returns its id.

    `lines` is the treatment of line breaks: `join` makes spaces of them, `paste` sends the text as a paste (an application
    without bracketed paste takes it for lines, each entered), `enter` types each line with an Enter. Control and invisible
    characters are typed as `\\u001b`, unless `raw`. `interrupt` sends Ctrl-C first; `enter=False` sends no Enter. `delay`:
    seconds before each Enter; `timeout`: seconds for each call of tmux. NoSuchPane or PaneError name the obstacle; unless
    they say otherwise, nothing has been typed then. Blocks.
    """
    if lines not in LINES:
        raise ValueError(f"{lines!r} is none of {', '.join(LINES)}")
    tmux = _Tmux(timeout)
    pane = _pane(tmux, target)
    parts = prepared(text, lines=lines, raw=raw)

    def press_enter() -> None:
        sleep(delay)
        tmux("send-keys", "-t", pane, "Enter")

    if interrupt:
        tmux("send-keys", "-t", pane, "C-c")
        sleep(delay)
    for number, part in enumerate(parts):
        if number:
            press_enter()
        if lines == "paste" and "\n" in part:
            buffer = f"fabric-{pane}"
            tmux("load-buffer", "-b", buffer, "-", data=part)
            tmux("paste-buffer", "-p", "-d", "-b", buffer, "-t", pane)
        else:
            for piece in pieces(part):
                tmux("send-keys", "-l", "-t", pane, "--", piece)
    if enter:
        press_enter()
    return pane


def prepared(text: str, *, lines: str, raw: bool) -> list[str]:
    """The parts of `text` to type, with an Enter between them. Pure."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    split = text.split("\n")
    if not raw:
        # In a shell, a tabulator starts completion.
        split = [" ".join(safe(part) for part in line.split("\t")) for line in split]
    if lines == "enter":
        return split
    if lines == "paste":
        return ["\n".join(split)]
    return [" ".join(line for line in (each.strip() for each in split) if line)] if len(split) > 1 else split


def pieces(text: str, limit: int = MAX_PIECE) -> Iterator[str]:
    """`text` as arguments of tmux, each of at most `limit` bytes (and the backslash before a last semicolon). Pure."""
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


def _pane(tmux: _Tmux, target: str) -> str:
    """The id of the pane `target`; unlike its name, it cannot change meanwhile."""
    if not target or safe(target) != target:
        raise NoSuchPane(f"{safe(target)!r} is no name of a tmux session")
    # Looked up here: tmux accepts a prefix for a name, and takes the active pane in place of one that does not exist.
    known = [_Pane(*line.split("\t", len(_FACTS) - 1)) for line in tmux("list-panes", "-a", "-F", _FORMAT).splitlines()]
    found = next((pane for pane in known if pane.matches(target)), None)
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

    def matches(self, target: str) -> bool:
        """Whether `target` is its id, or its session, window (index or name) and pane, if omitted the active ones."""
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


class _Tmux:
    """Runs tmux. PaneError if that fails, or takes longer than `timeout` seconds."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout

    def __call__(self, *arguments: str, data: str = "") -> str:
        """Its output, with `data` on its stdin."""
        program = shutil.which("tmux")
        if program is None:
            raise NoSuchPane("there is no tmux here: install it with: apt-get install tmux")
        try:
            ran = subprocess.run(
                [program, *arguments],
                input=data.encode(errors="replace"),
                capture_output=True,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PaneError(f"tmux did not answer within {self._timeout:g} s to: {arguments[0]}") from None
        except (OSError, ValueError) as error:
            raise PaneError(f"tmux could not be run: {error}") from None
        if ran.returncode:
            errors = ran.stderr.decode(errors="replace").strip() or f"exit status {ran.returncode}"
            kind = NoSuchPane if _is_absence(errors) else PaneError
            raise kind(f"tmux: {safe(errors)}")
        return ran.stdout.decode(errors="replace")


def _is_absence(errors: str) -> bool:
    return any(words in errors for words in ("no server running", "can't find", "error connecting"))


def session_name() -> str:
    """The tmux session that this process runs in; empty if it is in none, or tmux fails."""
    if not os.environ.get("TMUX"):
        return ""
    where: Sequence[str] = ("-t", pane) if (pane := os.environ.get("TMUX_PANE", "")) else ()
    try:
        return _Tmux()("display-message", "-p", *where, "#{session_name}").strip()
    except PaneError:
        return ""
