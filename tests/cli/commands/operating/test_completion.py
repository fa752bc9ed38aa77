import os
import subprocess
import sys

import pytest

from cli.main import run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_the_command_itself(shell, capsys):
    assert run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert f"_FABRIC_COMPLETE={shell}_complete" in out
    assert "fabric" in out


def test_commands_and_options_are_completed():
    def complete(*words):
        environment = {**os.environ, "_FABRIC_COMPLETE": "bash_complete"}
        environment |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        script = "import sys; sys.argv[0] = 'fabric'; from cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert complete("fabric", "p") == {"pane", "pub", "proxy"}
    assert {"--stats", "--json", "--url"} <= complete("fabric", "tap", "--")


def test_another_shell_is_wrong_usage(capsys):
    assert run(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
