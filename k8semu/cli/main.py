"""k8semu: the commands, as click reads their lines.

Exit status: 0 as expected, 1 an expectation or comparison failed, 2 bad input, 130 interrupted.
Each command is imported when it is called, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from k8semu import __version__
from k8semu.cli.console import error
from k8semu.cli.outcome import outcome

_COMMANDS = ("list", "run", "explain", "exec", "verify", "export", "diff")
_SHORT = {
    "list": "Scenarios by layer, one sentence each.",
    "run": "Run scenarios, tell the story, check expectations, write captures.",
    "explain": "One packet's way, hop by hop, with reasons.",
    "exec": "Run a scenario, then a command on one of its machines.",
    "verify": "Compare with the real Linux kernel.",
    "export": "The shell script that builds it on Linux.",
    "diff": "Semantic comparison of two captures.",
}


class _Commands(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = import_module(f"k8semu.cli.{name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SHORT[name]) for name in _COMMANDS])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="k8semu")
def cli() -> None:
    """See every frame of a Kubernetes cluster's network, without a cluster.

    \b
    k8semu list
    k8semu run pod-cross-node-vxlan
    k8semu explain pod-cross-node-vxlan
    """


def call(words: list[str] | None = None) -> int:
    """Run `k8semu WORDS…` (of this process, if none are given): errors become exit statuses."""
    return outcome(lambda: click_command(words))


def click_command(words: list[str] | None = None) -> Any:
    """What the command returns, or the status of what click has to say of the command line."""
    if not (sys.argv[1:] if words is None else words):
        words = ["--help"]      # who types only the name is told what there is, as by kubectl
    try:
        return cli.main(words, prog_name="k8semu", standalone_mode=False)
    except click.exceptions.Abort:
        error("interrupted")
        return 130
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx is not None else "k8semu"
        error(f"{_unquoted(exc.format_message())} (see `{path} --help`)")
        return 2
    except click.ClickException as exc:
        error(exc.format_message())
        return 2


def _unquoted(message: str) -> str:
    """click's message as one that stands inside a line."""
    return message.rstrip(".").replace("\n", " ")
