"""`fabric config`: the settings in effect, and their sources."""

import orjson
import pytest

from cli.terminal.text import cells
from fabric.config.address import default_url
from fabric.config.schema import settings_of
from fabric.config.settings import Settings
from proxy.settings import ProxySettings


@pytest.fixture
def config(start):
    """A function that runs `fabric config`: exit code, lines of stdout, stderr."""

    def run_it(*arguments, **environment):
        command = start("config", *arguments, env=environment)
        return command.end(), command.out.splitlines(), command.err

    return run_it


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A function that writes the settings file; its path."""

    def write(text):
        path = tmp_path / "fabric.toml"
        path.write_text(text)
        monkeypatch.setenv("FABRIC_CONFIG", str(path))
        return path

    return write


def row(lines, name, table="[fabric]"):
    """The columns of a setting's line."""
    start = next(number for number, line in enumerate(lines) if line.startswith(table))
    return next(line.split(maxsplit=2) for line in lines[start:] if line.startswith(f"{name} "))


def test_every_setting_is_shown_with_its_default_when_nothing_is_said(config, runtime_dir):
    code, lines, err = config()
    assert (code, err) == (0, "")
    assert lines[0] == f"settings file         {runtime_dir}/config/fabric/fabric.toml (there is none)"
    assert lines[1] == f"the embedded default  {default_url()}"
    for table, kind in (("[fabric]", Settings), ("[proxy]", ProxySettings)):
        for setting in settings_of(kind):
            assert row(lines, setting.name, table) == [setting.name, "default", setting.show(setting.default)]


def test_it_is_aligned_and_fits_80_columns(config, file):
    file("[proxy]\nhook_concurrency = 3\nsettle = 0.5")
    environment = {row.variable: "1" for row in settings_of(ProxySettings) if row.kind in (int, float)}
    _, lines, _ = config(**environment)
    shown = lines[2:]  # above are two paths of this machine
    assert max(map(cells, shown)) <= 80
    assert len({line.index("VALUE") for line in shown if line.startswith("NAME")}) == 1
    values = {line.index("default", 16) for line in shown if line.split()[1:2] == ["default"]}
    assert values == {shown[2].index("FROM")}


def test_each_value_is_shown_with_its_source(config, file):
    path = file("[fabric]\n# mine\nnode = 'me'\n[proxy]\nsettle = 0.5\ntimeout = 5\n")
    code, lines, _ = config("--url", "tcp://127.0.0.1:7500", FABRIC_TIMEOUT="9", FABRIC_NODE="")
    assert code == 0
    assert lines[0].endswith(f" {path}")
    assert row(lines, "url") == ["url", "argument", "tcp://127.0.0.1:7500"]
    assert row(lines, "url", "[proxy]") == ["url", "argument", "tcp://127.0.0.1:7500"]
    assert row(lines, "node") == ["node", "FABRIC_NODE", "the program's name and process id"]
    assert row(lines, "settle", "[proxy]") == ["settle", "file:5", "0.5 seconds"]
    assert row(lines, "timeout", "[proxy]") == ["timeout", "FABRIC_TIMEOUT", "9 seconds"]


def test_for_programs_it_is_one_object(config, file):
    path = file("[proxy]\nhooks = ['/bin/true']")
    code, lines, err = config("--json", FABRIC_SETTLE="2", FABRIC_SETTEL="3")
    assert (code, len(lines), err) == (0, 1, "")
    found = orjson.loads(lines[0])
    assert found["file"] == {"path": str(path), "exists": True}
    assert found["fabric"].keys() == {row.name for row in settings_of(Settings)}
    assert found["proxy"]["hooks"] == {"value": [["/bin/true"]], "from": f"{path}:2"}
    assert found["proxy"]["settle"] == {"value": 2.0, "from": "FABRIC_SETTLE"}
    assert found["proxy"]["timeout"] == {"value": 15.0, "from": "default"}
    assert (found["unknown"], found["problems"]) == (["FABRIC_SETTEL"], [])


def test_variables_that_are_no_settings_are_listed_and_are_no_error(config):
    code, lines, err = config(FABRIC_SETTEL="3", FABRIC_XYZ="1")
    assert (code, err) == (0, "")
    assert lines[-3:] == ["not known as settings:", "  FABRIC_SETTEL; did you mean FABRIC_SETTLE?", "  FABRIC_XYZ"]


def test_wrong_settings_are_named_and_the_others_shown(config, file):
    path = file("[proxy]\nsettel = 1\nlog_backups = 'x'\ntimeout = 7\n[other]")
    code, lines, err = config(FABRIC_AUTOSTART="maybe")
    assert code == 2
    assert row(lines, "timeout", "[proxy]")[2] == "7 seconds"
    assert row(lines, "log_backups", "[proxy]") == ["log_backups", "file:3", "(wrong; the default is 3 files)"]
    assert err.splitlines() == [
        f"fabric: [other] (from {path}:5): there is no such table",
        "fabric: autostart (from FABRIC_AUTOSTART): 'maybe' is not a yes or no (1, 0, true, false)",
        f"fabric: settel (from {path}:2): there is no such setting in [proxy]; did you mean settle?",
        f"fabric: log_backups (from {path}:3): 'x' is not a whole number of at least 0 (no quotes)",
    ]
    assert len(orjson.loads(config("--json", FABRIC_AUTOSTART="maybe")[1][0])["problems"]) == 4


@pytest.mark.parametrize("text", ["no toml", None])
def test_a_file_that_cannot_be_read_is_named_once_and_the_rest_is_shown(text, config, file):
    path = file(text or "")
    if text is None:
        path.unlink()
    code, lines, err = config(FABRIC_SETTLE="5")
    assert (code, err.count("\n")) == (2, 1)
    assert str(path) in err
    assert row(lines, "settle", "[proxy]")[2] == "5 seconds"


def test_texts_of_other_programs_do_not_act_on_the_terminal(config, file):
    file("[fabric]\nnode = \"\\u001b[2J\"\n['\\u001b']")
    _, lines, err = config("--url", "x\x1b[2J")
    assert all(line.isprintable() for line in [*lines, *err.splitlines()])


def test_a_wrong_setting_of_the_file_ends_every_command_with_2(start, file):
    path = file("[fabric]\nurl = 3")
    command = start("ls")
    assert (command.end(), command.err) == (2, f"fabric: url (from {path}:2): 3 is not text\n")
