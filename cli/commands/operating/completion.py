"""`fabric completion`: prints click's completion scripts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the tab completion script for a shell.

    \b
    Examples:
      echo 'eval "$(fabric completion bash)"' >> ~/.bashrc
      echo 'eval "$(fabric completion zsh)"' >> ~/.zshrc
      fabric completion fish > ~/.config/fish/completions/fabric.fish
    """
    from cli.main import fabric  # imports this module

    script = get_completion_class(shell)
    assert script is not None  # click knows all three
    click.echo(script(fabric, {}, "fabric", "_FABRIC_COMPLETE").source())
