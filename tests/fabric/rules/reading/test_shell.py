"""Command lines as arguments, and scripts for shells."""

import pytest

from fabric.rules.reading.shell import script_of, split

VARIABLES = {"TEXT": "{text}", "MESSAGE": "{message}", "TS": "{ts}"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        ("a ''", ["a", ""]),
        ("a '$TEXT' \"$TEXT\" $TEXT-x \\$TEXT", ["a", "$TEXT", "{text}", "{text}-x", "$TEXT"]),
        ("a ${MESSAGE}$TS", ["a", "{message}{ts}"]),
        ("~/bin/a {x}", ["~/bin/a", "{{x}}"]),
        ("sh -c 'echo \"$TEXT\" | cat'", ["sh", "-c", 'echo "$TEXT" | cat']),
        ('a "b\\"c" "d\\e"', ["a", 'b"c', "d\\e"]),
    ],
)
def test_a_command_line_is_split_as_by_a_shell(command, words):
    assert split(command, VARIABLES) == words


@pytest.mark.parametrize(
    "command",
    ["a; b", "a && b", "a > f", "a $(b)", "a `b`", "a *", "a ~/x",
      "a $HOME", "a $", "A=1 b", "", "  ", "a 'b", "$TEXT x", "a #b", "''"],
)  # fmt: skip
def test_syntax_that_needs_a_shell_is_refused(command):
    with pytest.raises(ValueError, match=r"shell|closed"):
        split(command, VARIABLES)


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (["sh", "-c", "x"], 2),
        (["/usr/bin/zsh", "-e", "-c", "x", "--", "y"], 3),
        (["bash", "-euc", "x"], 2),
        (["bash", "x"], None),
        (["bash", "-c"], None),
        (["echo", "-c", "x"], None),
        ([], None),
    ],
)
def test_the_script_of_a_shell_is_the_argument_after_c(words, script):
    assert script_of(words) == script
