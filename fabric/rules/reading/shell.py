"""Shell command lines: as arguments where that needs no shell, and which argument a shell runs as a script.

    notify.sh --to=$FROM "$TEXT"      ["notify.sh", "--to={from}", "{text}"]      variables become placeholders
    a | b                             ValueError: needs a shell
    sh -c 'echo "$TEXT"' x            argument 2 is the script

Runs nothing and knows no templates but their braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

#: What the ValueError of `split` begins with if only a shell can run the command.
NEEDS_A_SHELL = "this needs a shell"

_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "csh", "tcsh")
_SPECIAL = "|&;<>()*?[]#!\n"
_VARIABLE = re.compile(r"\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*)")


def script_of(words: Sequence[str]) -> int | None:
    """Index of the argument that a shell would run as a script; None if it is no shell, or has none."""
    if not words or words[0].rpartition("/")[2] not in _SHELLS:
        return None
    for number, word in enumerate(words[1:-1], 1):
        # -c may stand among others: -euc
        if re.fullmatch(r"-[a-zA-Z]*c", word):
            return number + 1
    return None


def split(command: str, variables: Mapping[str, str]) -> list[str]:
    """`command` as templates of arguments; each `$NAME` becomes `variables[NAME]`.

    ValueError for syntax or a variable that needs a shell. `shlex.split` cannot be used: it does not say which characters
    were quoted.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    at = 0
    while at < len(command):
        character = command[at]
        at += 1
        if quote == "'":
            if character == quote:
                quote = ""
            else:
                word = (word or "") + _literal(character)
        elif character == "\\" and (not quote or command[at : at + 1] in ('"', "\\", "$", "`")):
            word = (word or "") + _literal(command[at : at + 1])
            at += 1
        elif character == "$":
            found = _VARIABLE.match(command, at)
            name = (found[1] or found[2]) if found else ""
            if found is None or name not in variables:
                raise ValueError(f"{NEEDS_A_SHELL}: ${name or command[at : at + 1]}")
            word = (word or "") + variables[name]
            at = found.end()
        elif character == "`":
            raise ValueError(f"{NEEDS_A_SHELL}: `")
        elif character == quote:
            quote = ""
        elif quote:
            word = (word or "") + _literal(character)
        elif character in "'\"":
            quote = character
            word = word or ""
        elif character in " \t":
            if word is not None:
                words.append(word)
            word = None
        elif character in _SPECIAL or (character == "~" and word is None and words):
            raise ValueError(f"{NEEDS_A_SHELL}: {character!r}")
        else:
            word = (word or "") + _literal(character)
    if quote:
        raise ValueError(f"a quotation mark {quote} is not closed")
    if word is not None:
        words.append(word)
    if not words or not words[0] or "=" in words[0] or "{" in words[0]:
        raise ValueError(f"{NEEDS_A_SHELL}: it does not begin with the name of a program")
    return words


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
