import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest

import fabric as library
from cli.main import COMMANDS, fabric, run
from fabric.testing import wait_until
from tests.cli.running import FABRIC

CONTEXT = click.Context(fabric, info_name="fabric")
COMMAND = {name: fabric.get_command(CONTEXT, name) for name in COMMANDS}


def examples_of(command):
    """The command lines in a command's help, without their descriptions."""
    found = re.findall(
        r"^ +(?:.*\| *)?(?:echo '.*)?(fabric [^|\n]*?)(?:  +\S.*|\| .*|\)\".*| > .*)?$", command.help, re.M
    )
    return [line.strip() for line in found]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_says_what_it_does_and_has_examples_that_parse(name, capsys):
    command = COMMAND[name]
    assert run([name, "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out
    examples = examples_of(command)
    assert examples
    for example in examples:
        _, verb, *arguments = shlex.split(example)
        COMMAND[verb].make_context(verb, arguments, parent=CONTEXT)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("completion", "pane", "rules")])
def test_every_command_that_uses_a_proxy_has_an_option_for_its_address(name):
    assert "url" in {parameter.name for parameter in COMMAND[name].params}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name):
    assert all(p.help for p in COMMAND[name].params if isinstance(p, click.Option) and not p.hidden)


def test_it_has_a_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"fabric {library.__version__} (event-fabric)\n"


def test_help_lists_every_command_and_the_exit_codes(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert "3 no proxy" in shown


def test_help_lists_the_commands_in_the_sections_of_their_folders(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    listed = {
        heading: re.findall(r"^  (\S+) +\S", block, re.M)
        for heading, block in re.findall(r"^(Events|Messages|Operating):\n((?:  .*\n)+)", shown, re.M)
    }
    assert list(listed) == ["Events", "Messages", "Operating"]
    assert [name for names in listed.values() for name in names] == list(COMMANDS)
    assert listed["Events"][0] == "demo"
    for heading, names in listed.items():
        assert {COMMANDS[name].split(".")[2] for name in names} == {heading.lower()}


def test_the_descriptions_of_all_sections_are_in_one_column(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    starts = {len(re.search(rf"^  {name} +(?=\S)", shown, re.M)[0]) for name in COMMANDS}
    assert starts == {len("  completion  ")}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("tpa", "Did you mean 'top' or 'tap'?"),
        ("demmo", "Did you mean 'demo'?"),
        ("xyz", "There are: demo, tap"),
        ("--nothing", "No such option"),
        ("fabric", "There"),
    ],
)
def test_an_unknown_command_is_wrong_usage(typed, said, capsys):
    assert run([typed]) == 2
    assert said in capsys.readouterr().err


def test_without_a_command_it_shows_help_as_wrong_usage(capsys):
    assert run([]) == 2
    assert "Usage: fabric" in "".join(capsys.readouterr())


def test_it_runs_as_a_module_too():
    done = subprocess.run([sys.executable, "-P", "-m", "cli", "--version"], cwd="/", capture_output=True, check=True)
    assert done.stdout.startswith(b"fabric ")


def test_output_that_cannot_be_written_is_a_failure_in_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*FABRIC, "--help"], stdout=full, stderr=subprocess.PIPE, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (1, b"fabric: No space left on device\n")


def test_closed_output_and_input_are_no_reason_to_fail(url):
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *FABRIC, "pub", "a.b", "--url", url], cwd="/", check=False
    )
    assert done.returncode == 0


def test_ctrl_c_while_it_waits_ends_it_without_a_traceback(start):
    with tempfile.TemporaryDirectory() as directory:
        command = start("pub", "a.b", "--url", f"ipc://{directory}/nobody")
        wait_until(lambda: "fabric-control" in threads_of(command.pid), what="it has its node")
        assert command.interrupt() == 130
    assert command.err.strip() == ""


def threads_of(pid):
    names = [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
    return ["fabric-control"] if len(names) > 3 else names
