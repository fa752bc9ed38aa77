"""The default name of a program's endpoint, for callers that pass none.

    node.endpoint(fabric.endpoint_name(), policy="suffix")                # lead, or lead-2 if lead is taken
    node.endpoint(fabric.endpoint_name(role="gateway"), policy="suffix")  # lead-gateway

The first of these that is not empty, with the role appended:

    1. the environment variable FABRIC_ENDPOINT
    2. the program's own configuration (argument `configured`)
    3. `endpoint` in [fabric] of the settings file
    4. the program's profile (argument `profile`)
    5. the program's default (argument `default`)
    6. <program>-<host>

Two programs may derive the same name. With policy `suffix` the proxy then names the second one `-2`. A list of the
registered names, read before registering, would be no substitute: two programs can read it at the same time.
"""

from __future__ import annotations

import os
import sys

from fabric.config.settings import Settings, load
from fabric.protocol.names import check_name

VARIABLE = "FABRIC_ENDPOINT"


def choose_name(*candidates: str | None, role: str = "") -> str:
    """The first candidate that is not blank, with `-<role>` appended unless it ends with that. Pure.

    ValueError if the result is no valid name of an endpoint, or if all candidates are blank.
    """
    name = next((each.strip() for each in candidates if each and each.strip()), "")
    role = role.strip()
    if name and role and name != role and not name.endswith(f"-{role}"):
        name = f"{name}-{role}"
    return check_name(name)


def endpoint_name(*, configured: str = "", profile: str = "", default: str = "", role: str = "") -> str:
    """The name for this program's endpoint; the module's docstring gives the order of the arguments.

    SettingsError for a wrong setting, ValueError for a wrong argument.
    """
    variable = os.environ.get(VARIABLE, "").strip()
    settings = load(Settings, "fabric", {"endpoint": configured.strip() or None} if configured and not variable else {})
    own = f"{program_name()}-{_as_name(os.uname().nodename)}"
    return choose_name(settings.endpoint, profile, default, own, role=role)


def program_name() -> str:
    """The name of the program that this process runs, as part of a name; the package's for `python -m package`."""
    path, _ = os.path.splitext(sys.argv[0] if sys.argv else "")
    name = os.path.basename(path)
    name = os.path.basename(os.path.dirname(path)) if name == "__main__" else name
    return _as_name(name) or "python"


def _as_name(text: str) -> str:
    """`text` with `-` in place of characters that no name may contain."""
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in text)
