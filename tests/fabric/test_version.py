import tomllib
from pathlib import Path

import fabric
from fabric._version import __version__

ROOT = Path(__file__).parents[2]


def test_the_module_the_package_and_pyproject_state_the_same_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert __version__ == fabric.__version__ == project["version"]
