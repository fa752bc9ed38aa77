from dataclasses import dataclass

import pytest

from fabric.config.address import default_url, parse_address
from fabric.config.settings import Settings, load, resolve, unknown_variables
from fabric.errors import SettingsError


@dataclass(frozen=True)
class Kinds:
    """One of each kind of setting."""

    text: str = "default"
    whole: int = 1
    number: float = 1.5
    yes: bool = False
    several: tuple[str, ...] = ()


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write the settings file."""
    path = tmp_path / "fabric.toml"
    monkeypatch.setenv("FABRIC_CONFIG", str(path))
    path.write_text("")

    def write(text):
        path.write_text(text)
        return path

    return write


# Order of sources


def test_without_any_source_there_are_the_defaults():
    assert load(Settings, "fabric", {}) == Settings()


def test_the_file_comes_before_the_default(config):
    config("[test]\ntext = 'file'")
    assert load(Kinds, "test", {}).text == "file"


def test_the_environment_comes_before_the_file(config, monkeypatch):
    config("[test]\ntext = 'file'")
    monkeypatch.setenv("FABRIC_TEXT", "environment")
    assert load(Kinds, "test", {}).text == "environment"


def test_the_argument_comes_before_the_environment(config, monkeypatch):
    config("[test]\ntext = 'file'")
    monkeypatch.setenv("FABRIC_TEXT", "environment")
    assert load(Kinds, "test", {"text": "argument"}).text == "argument"


def test_an_argument_of_none_counts_as_not_given(monkeypatch):
    monkeypatch.setenv("FABRIC_TEXT", "environment")
    assert load(Kinds, "test", {"text": None}).text == "environment"


def test_an_argument_that_is_false_counts_as_given(monkeypatch):
    monkeypatch.setenv("FABRIC_YES", "1")
    assert load(Kinds, "test", {"yes": False}).yes is False


def test_each_program_reads_its_own_table(config):
    config("[test]\ntext = 'mine'\n[proxy]\ntext = 'theirs'\nunknown = 1\n[[rules]]\nx = 1\n[routes]")
    assert load(Kinds, "test", {}).text == "mine"


def test_the_file_is_looked_for_in_the_users_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "fabric").mkdir()
    (tmp_path / "fabric" / "fabric.toml").write_text("[fabric]\nnode = 'from-home'")
    assert load(Settings, "fabric", {}).node == "from-home"


# Values


@pytest.mark.parametrize(("word", "value"), [("1", True), ("true", True), ("Yes", True), (" on ", True), ("0", False)])
@pytest.mark.parametrize("environment", [True, False])
def test_words_for_yes_and_no(word, value, environment, monkeypatch):
    if environment:
        monkeypatch.setenv("FABRIC_YES", word)
    assert load(Kinds, "test", {} if environment else {"yes": word}).yes is value


@pytest.mark.parametrize("word", ["false", "No", "off", ""])
def test_words_for_no(word, monkeypatch):
    monkeypatch.setenv("FABRIC_YES", word)
    assert load(Kinds, "test", {}).yes is False


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("whole", "12", 12),
        ("number", "2.5", 2.5),
        ("number", "2", 2.0),
        ("text", " a ", "a"),
        ("several", ["a"], ("a",)),
    ],
)
def test_values_are_converted(name, given, value):
    assert getattr(load(Kinds, "test", {name: given}), name) == value


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("whole", "many", "a whole number"),
        ("whole", "1.5", "a whole number"),
        ("whole", "-1", "a whole number"),
        ("whole", True, "a whole number"),
        ("whole", None.__class__, "a whole number"),
        ("number", "nan", "a number"),
        ("number", "inf", "a number"),
        ("number", "-0.1", "a number"),
        ("yes", "maybe", "a yes or no"),
        ("text", 3, "text"),
        ("several", "a", "a list"),
    ],
)
def test_the_error_of_a_wrong_value_names_the_permitted_values(name, given, expected):
    with pytest.raises(SettingsError, match=f"^{name} .*{expected}"):
        load(Kinds, "test", {name: given})


def test_an_error_names_an_argument_as_its_source():
    with pytest.raises(SettingsError, match="from argument") as caught:
        load(Kinds, "test", {"whole": "x"})
    assert (caught.value.name, caught.value.source) == ("whole", "argument")


def test_an_error_names_the_environment_variable_as_its_source(monkeypatch):
    monkeypatch.setenv("FABRIC_WHOLE", "x")
    with pytest.raises(SettingsError) as caught:
        load(Kinds, "test", {})
    assert caught.value.source == "FABRIC_WHOLE"


def test_an_error_names_file_and_line_as_its_source(config):
    path = config("# mine\n[test]\ntext = 'a'\nwhole = 'x'")
    with pytest.raises(SettingsError) as caught:
        load(Kinds, "test", {})
    assert caught.value.source == f"{path}:4"


@pytest.mark.parametrize(
    "text",
    [
        "\n\n[test]\n'whole'= 'x'",
        "\ntest = {text = 'a # b',\twhole = 'x'}",
        "test.text = '''\nwhole'''\ntest.whole='x'",
    ],
)
def test_the_line_is_found_however_the_key_is_written(text, config):
    path = config(text)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "'x'" in each)
    with pytest.raises(SettingsError) as caught:
        load(Kinds, "test", {})
    assert caught.value.source == f"{path}:{line}"


def test_a_number_in_quotes_is_a_mistake_in_the_file_alone(config, monkeypatch):
    config("[test]\nwhole = '3'")
    with pytest.raises(SettingsError, match=r"toml:2\): '3' is not a whole number of at least 0 \(no quotes\)"):
        load(Kinds, "test", {})
    assert load(Kinds, "test", {"whole": "3"}).whole == 3
    monkeypatch.setenv("FABRIC_WHOLE", "3")
    assert load(Kinds, "test", {}).whole == 3


def test_the_error_of_an_unknown_setting_names_the_similar_one(config):
    path = config("[test]\nwholes = 1")
    with pytest.raises(SettingsError, match=r"no such setting in \[test\]; did you mean whole\?") as caught:
        load(Kinds, "test", {})
    assert (caught.value.name, caught.value.source) == ("wholes", f"{path}:2")


def test_the_error_of_an_unknown_setting_without_a_similar_one_lists_all(config):
    config("[test]\nxyz = 1")
    with pytest.raises(SettingsError, match=r"xyz .*no such setting.*number, several, text, whole, yes"):
        load(Kinds, "test", {})


def test_the_error_of_an_unknown_table_has_its_line_and_the_similar_one(config):
    path = config("[fabric]\n[[proxies]]\n[proxi]\nurl = ''")
    with pytest.raises(SettingsError, match=r"no such table; did you mean proxy\?") as caught:
        load(Settings, "fabric", {})
    assert (caught.value.name, caught.value.source) == ("[proxies]", f"{path}:2")


def test_the_error_of_a_setting_outside_of_all_tables_names_the_tables(config):
    path = config("node = 'x'")
    with pytest.raises(SettingsError, match=r"in no table: settings stand below \[fabric\]") as caught:
        load(Settings, "fabric", {})
    assert caught.value.source == f"{path}:1"


def test_the_error_of_a_wrong_address_has_its_source(config):
    path = config("[fabric]\nurl = 'nowhere'")
    with pytest.raises(SettingsError, match="'nowhere': no such kind of address; addresses look like") as caught:
        load(Settings, "fabric", {})
    assert caught.value.source == f"{path}:2"


def test_other_defaults_come_after_everything_else(config, monkeypatch):
    config("[test]\ntext = 'file'")
    monkeypatch.setenv("FABRIC_WHOLE", "7")
    made = load(Kinds, "test", {"yes": True}, {"text": "x", "whole": 5, "yes": False, "number": 0.5})
    assert made == Kinds("file", 7, 0.5, True)


# Everything at once


def test_every_setting_is_resolved_with_its_source(config, monkeypatch):
    path = config("[test]\n\nnumber = 2.5")
    monkeypatch.setenv("FABRIC_WHOLE", "7")
    found, problems = resolve(Kinds, "test", {"text": "given"})
    assert problems == []
    assert {each.setting.name: (each.value, each.source) for each in found} == {
        "text": ("given", "argument"),
        "whole": (7, "FABRIC_WHOLE"),
        "number": (2.5, f"{path}:3"),
        "yes": (False, "default"),
        "several": ((), "default"),
    }


def test_all_problems_are_found_and_the_other_settings_resolved(config, monkeypatch):
    config("[test]\nwhole = 'x'\nxyz = 1\nnumber = 2.5\n[other]")
    monkeypatch.setenv("FABRIC_YES", "maybe")
    found, problems = resolve(Kinds, "test", {})
    assert [each.name for each in problems] == ["[other]", "xyz", "whole", "yes"]
    assert {each.setting.name: each.value for each in found if not each.problem} == {
        "text": "default", "number": 2.5, "several": (),
    }  # fmt: skip
    assert [each.setting.name for each in found if each.problem] == ["whole", "yes"]


def test_unknown_variables_are_those_that_begin_with_fabric_and_are_no_settings(monkeypatch):
    for name in ("FABRIC_TEXT", "FABRIC_TEXTS", "FABRIC_CONFIG", "FABRIC_RUNTIME_DIR", "FABRIC_DEBUG", "XFABRIC_Y"):
        monkeypatch.setenv(name, "1")
    assert unknown_variables(Kinds) == ["FABRIC_TEXTS"]


# The file


def test_a_file_that_is_no_toml_is_an_error(config):
    config("not toml")
    with pytest.raises(SettingsError, match="is no TOML"):
        load(Kinds, "test", {})


def test_a_file_that_is_no_text_is_an_error(config):
    config("").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is no TOML"):
        load(Kinds, "test", {})


def test_a_file_that_is_nested_too_deeply_is_an_error(config):
    config("a = " + "[" * 10_000)
    with pytest.raises(SettingsError, match="is nested too deeply"):
        load(Kinds, "test", {})


def test_a_named_file_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("FABRIC_CONFIG", "/nowhere/fabric.toml")
    with pytest.raises(SettingsError, match=r"no file /nowhere/fabric\.toml"):
        load(Kinds, "test", {})


def test_a_table_that_is_no_table_is_an_error(config):
    config("test = 3")
    with pytest.raises(SettingsError, match=r"\[test\] is a table"):
        load(Kinds, "test", {})


def test_a_settings_error_is_a_value_error():
    assert issubclass(SettingsError, ValueError)


# The address


def test_settings_without_url_mean_the_embedded_default():
    assert Settings().is_default_address
    assert Settings().address() == parse_address(default_url())
    assert not Settings(url="tcp://h").is_default_address
