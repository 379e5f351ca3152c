"""The command line: ``python -m d2l_ext`` or ``d2l-ext``.

Each command is in a module of its own, which is loaded when the command is called, so that
``--help`` is immediate and nothing loads a framework that does not need it. Whatever is wrong with
what the user gave is one line on standard error and exit status 2; what goes wrong later (a full
disk, a loss that is not finite) is one line and exit status 1.
"""

import importlib
import os
from typing import Any

import click

from d2l_ext.commands.errors import UserError

# Name of the command, its module and what it does. The module has a command of that name.
COMMANDS = {
    "audit": ("d2l_ext.commands.audit", "Compare transformers' models over frameworks."),
    "compare": ("d2l_ext.commands.compare", "Train in several frameworks and compare everything."),
    "doctor": ("d2l_ext.commands.doctor", "Check which frameworks work, and how to mend the rest."),
    "embed": ("d2l_ext.commands.embed", "Turn texts into vectors, with BERT."),
    "evaluate": ("d2l_ext.commands.evaluate", "Measure a model on what was held out."),
    "export": ("d2l_ext.commands.export", "Write a translator as ONNX or CTranslate2 has it."),
    "generate": ("d2l_ext.commands.generate", "Go on with a text, with a language model."),
    "inspect": ("d2l_ext.commands.inspect", "Show what is in a checkpoint."),
    "locate": ("d2l_ext.commands.locate", "Find the layer that leaves the reference, in a case."),
    "plot": ("d2l_ext.commands.plot", "Draw where a model looked."),
    "train": ("d2l_ext.commands.train", "Train a model, or resume its training."),
    "translate": ("d2l_ext.commands.translate", "Translate a sentence, a file or standard input."),
}

# Errors that the user can mend; other OSErrors are a full disk and the like.
OF_THE_USER = (
    ValueError,
    ImportError,
    ConnectionError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class Commands(click.Group):
    """A group that loads a command when it is called, and whose errors are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of the output has gone: click knows what to do
            raise
        except (*OF_THE_USER, OSError, FloatingPointError, MemoryError) as error:
            if ctx.params["debug"]:
                raise
            failure = UserError if isinstance(error, OF_THE_USER) else click.ClickException
            raise failure(_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    text = "; ".join([str(error), *getattr(error, "__notes__", ())])
    if isinstance(error, MemoryError):
        text = f"not enough memory; {text or 'smaller sizes need less'}"
    return " ".join(text.split()) or type(error).__name__


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="d2l-ext", prog_name="d2l-ext")
@click.option("--debug", is_flag=True, help="Show where an error came from.")
def main(debug: bool) -> None:
    """Attention from Dive into Deep Learning in four frameworks, with the same numbers."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greetings
