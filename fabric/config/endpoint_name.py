"""What a program's endpoint is called, where nobody says it at the place.

    node.endpoint(fabric.endpoint_name(), policy="suffix")                # lead, or lead-2 if lead is taken
    node.endpoint(fabric.endpoint_name(role="gateway"), policy="suffix")  # lead-gateway

The first of these that says something: `FABRIC_ENDPOINT`; what the program was configured with; `endpoint` in [fabric] of
the settings file; its profile; `<program>-<host>`. The role comes after it. Of two programs that come to the same name, the
proxy gives the second `-2` (policy `suffix`): whoever asks first who is there, and registers then, meets another who does
the same.
"""

from __future__ import annotations

import os
import sys

from fabric.config.settings import Settings, load
from fabric.protocol.names import check_name

VARIABLE = "FABRIC_ENDPOINT"


def choose_name(*said: str | None, role: str = "") -> str:
    """The first of `said` that says something, with the role after it, unless it ends with that already. Pure.

    ValueError for what no endpoint can be called, and where nobody says anything.
    """
    name = next((each.strip() for each in said if each and each.strip()), "")
    role = role.strip()
    if name and role and name != role and not name.endswith(f"-{role}"):
        name = f"{name}-{role}"
    return check_name(name)


def endpoint_name(*, configured: str = "", profile: str = "", default: str = "", role: str = "") -> str:
    """The name for this program's endpoint; see above for the order.

    `configured` is what its own configuration says, `profile` the one it runs with, if it has such, `default` stands in for
    `<program>-<host>`. SettingsError for a wrong setting, ValueError for a wrong argument.
    """
    variable = os.environ.get(VARIABLE, "").strip()
    settings = load(Settings, "fabric", {"endpoint": configured.strip() or None} if configured and not variable else {})
    return choose_name(settings.endpoint, profile, default, _own_name(), role=role)


def _own_name() -> str:
    """The program and the host, without what a name cannot have."""
    path, _ = os.path.splitext(sys.argv[0] if sys.argv else "")
    program = os.path.basename(path)
    program = os.path.basename(os.path.dirname(path)) if program == "__main__" else program
    name = f"{program or 'python'}-{os.uname().nodename}"
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in name)
