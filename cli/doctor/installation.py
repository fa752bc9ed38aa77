"""Checks of the installation: whether the packages `fabric`, `proxy` and `cli` are ours, and the versions they need.

PyPI has other packages of these names: Fabric (SSH) installs `fabric`, proxy.py installs `proxy`, and a user may have a
`cli.py`. The first one on the path is imported, and the errors that follow can show up anywhere. So this module imports
nothing of ours but `cli.doctor.findings`, and runs before anything else is imported.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from cli.doctor.findings import Finding, ok, warning, wrong

OURS = "event-fabric"
PACKAGES = ("fabric", "proxy", "cli")
#: Directory that this package was imported from; the others should be there, too.
ROOT = Path(__file__).absolute().parents[2]
_OWN_ENVIRONMENT = "give event-fabric an environment of its own: python -m venv, or pipx install event-fabric"


def examine() -> list[Finding]:
    """All checks of the installation."""
    return [
        *origins({name: _origin(name) for name in PACKAGES}, ROOT),
        *rivals(metadata.packages_distributions(), _installed()),
        *shadows(Path.cwd(), ROOT),
        *versions(),
    ]


def _installed() -> dict[str, str]:
    # A distribution with damaged metadata has no name.
    return {name: each.version for each in metadata.distributions() if isinstance(name := each.metadata["Name"], str)}


def _origin(name: str) -> str:
    """The file or directory that a package would be imported from; empty if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return ""
    if spec is None:
        return ""
    places = list(spec.submodule_search_locations or [])
    return spec.origin or (places[0] if places else "")


def origins(places: Mapping[str, str], root: Path) -> list[Finding]:
    """Whether each package (name → file or directory that it is imported from, empty if none) is in `root`."""
    found = []
    for name, origin in places.items():
        if not origin:
            found.append(wrong("packages", f"there is no package {name!r} to import", f"pip install {OURS}"))
        elif _directory(origin) != (root / name).resolve():
            found.append(wrong("packages", f"{name!r} is imported from {origin}, which is not ours", _way_out(origin)))
    return found or [ok("packages", f"{', '.join(PACKAGES)} are ours, in {root}")]


def _directory(origin: str) -> Path:
    path = Path(origin).resolve()
    return path.parent if path.name.startswith("__init__.") else path


def _way_out(origin: str) -> str:
    for entry in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if Path(origin).resolve().is_relative_to(Path(entry).resolve()):
            return f"take {entry} out of PYTHONPATH"
    return f"rename or uninstall it, or {_OWN_ENVIRONMENT}"


def rivals(owners: Mapping[str, Sequence[str]], versions: Mapping[str, str]) -> list[Finding]:
    """Other distributions that install packages of our names, into the same directory or another.

    `owners`: package → distributions that install it, `versions`: distribution → version.
    """
    found = []
    for name in PACKAGES:
        for owner in sorted(set(owners.get(name, ())) - {OURS}):
            text = f"{owner} {versions.get(owner, '')}".strip()
            found.append(
                wrong(
                    "packages",
                    f"{text} installs a package {name!r}, too",
                    f"pip uninstall {owner}, or {_OWN_ENVIRONMENT}",
                )
            )
    return found


def shadows(here: Path, root: Path) -> list[Finding]:
    """Files in the directory `here` that a program started there would import in place of our packages."""
    if here.resolve() == root.resolve():
        return []
    found = []
    for name in PACKAGES:
        for path in (here / f"{name}.py", here / name / "__init__.py"):
            if path.is_file():
                text = f"a program that is started in {here} imports {path.relative_to(here)} in place of our {name!r}"
                found.append(warning("packages", text, "rename it, or start programs with python -P"))
    return found


# Versions


def versions() -> list[Finding]:
    """Whether Python and the distributions that we require are installed, and new enough."""
    try:
        needed, python = metadata.requires(OURS) or [], metadata.metadata(OURS)["Requires-Python"]
    except metadata.PackageNotFoundError:
        text = f"{OURS} is used from {ROOT} without being installed: its requirements cannot be checked"
        return [warning("versions", text, f"pip install {OURS}")]
    found = []
    running = ".".join(map(str, sys.version_info[:3]))
    if python and _is_older(running, python):
        found.append(wrong("versions", f"Python {running} is too old: {python} is needed", "install a newer Python"))
    for requirement in needed:
        if match := re.fullmatch(r"([A-Za-z0-9_.-]+)\s*\(?(>=[^;)]*)\)?", requirement.strip()):
            found += required(match[1], match[2])
    return found


def required(name: str, wanted: str) -> list[Finding]:
    """Whether a distribution is installed in the version that `wanted` (`>=…`) asks for; nothing if it is."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return [wrong("versions", f"{name} is not installed: {wanted} is needed", f"pip install '{name}{wanted}'")]
    if not _is_older(version, wanted):
        return []
    return [wrong("versions", f"{name} {version} is too old: {wanted} is needed", f"pip install '{name}{wanted}'")]


def _is_older(version: str, wanted: str) -> bool:
    """Whether `version` is lower than the version in `wanted` (`>=…`)."""
    match = re.search(r">=\s*([0-9.]+)", wanted)
    return match is not None and version_numbers(version) < version_numbers(match[1])


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
