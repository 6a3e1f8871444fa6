"""Completion of commands, options and names by Tab, for the shells that people use."""

import argparse
import os
from collections.abc import Callable
from importlib import resources

from synesthete.cli import options
from synesthete.cli.options import Arguments, Commands

SHELLS = ("bash", "zsh", "fish")

Completer = Callable[..., list[str]]
"""From what was typed so far, `prefix=`, to words that may be meant."""


def completion(a: Arguments) -> None:
    """Print what a shell must run to complete `synesthete`."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["synesthete"], shell=a.shell))


def answer(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end; otherwise do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def by(completer: Completer, argument: argparse.Action) -> None:
    """Have an argument completed."""
    argument.completer = completer  # type: ignore[attr-defined]


def presets(prefix: str, **_: object) -> list[str]:
    """The presets' names, and TOML files."""
    from argcomplete.completers import FilesCompleter

    return _names("presets") + FilesCompleter("toml")(prefix)


def models(prefix: str, **_: object) -> list[str]:
    """The bundled models' names, and folders."""
    from argcomplete.completers import DirectoriesCompleter

    return _names("models") + list(DirectoriesCompleter()(prefix))


def _names(folder: str) -> list[str]:
    paths = (resources.files("synesthete") / folder).iterdir()
    return [path.name.removesuffix(".toml") for path in paths]


def add(commands: Commands) -> None:
    """The command `completion`."""
    p = options.command(commands, "completion", completion, """
  eval "$(synesthete completion bash)"              # in ~/.bashrc
  eval "$(synesthete completion zsh)"               # in ~/.zshrc
  synesthete completion fish > ~/.config/fish/completions/synesthete.fish
""")  # fmt: skip
    p.add_argument("shell", choices=SHELLS, help="bash, zsh or fish")
