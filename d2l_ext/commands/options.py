"""What several commands share: options, a checkpoint's model, how a translation is shown."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from d2l_ext import environment, interface
from d2l_ext.commands.errors import UserError
from d2l_ext.data import BucketedData
from d2l_ext.data.sentences import cut, join, labels, unknown
from d2l_ext.interface import Model
from d2l_ext.training import checkpoint
from d2l_ext.training.checkpoint import Checkpoint
from d2l_ext.training.settings import TRANSLATORS, Settings, read_settings
from d2l_ext.training.translation import Translation


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a framework computes on; `opened` makes sense of it."""
    device = click.option(
        "--device",
        expose_value=False,
        callback=_noted,
        help="cpu, gpu or gpu:1, where the framework sees one.  [default: its own choice]",
    )
    threads = click.option(
        "--threads",
        type=click.IntRange(1),
        expose_value=False,
        callback=_noted,
        help="Threads that the framework computes with; another number adds up in another order,"
        " so that a resumed run needs the same.  [default: its own choice]",
    )
    return device(threads(command))


def _noted(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Keep an option of the machine for `opened`; frameworks read of threads when they load."""
    ctx.meta[f"{__name__}.{param.name}"] = value
    if param.name == "threads" and value is not None:
        if loaded := [name for name in interface.COLUMNS if name in sys.modules]:
            raise UserError(f"--threads: {loaded[0]} is loaded already")
        os.environ.update(environment.threads(value))
    return value


def asked(name: str) -> Any:
    """Return an option of the machine as the command line has it, or None."""
    return click.get_current_context().meta.get(f"{__name__}.{name}")


def opened(name: str) -> interface.Backend:
    """Return a backend that computes on what the command line asks for."""
    if name == "reference" and asked("threads") is not None:
        raise UserError(
            "--threads goes with a framework; NumPy, of the reference, is loaded before"
        )
    backend = interface.backend(name)
    if (device := asked("device")) is not None:
        backend.use(device)
    return backend


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options of all commands that use a checkpoint."""
    command = backend_options("the one that trained, if it is installed")(command)
    return click.argument("checkpoint", type=click.Path(path_type=Path))(command)


def backend_options(default: str) -> Callable[..., Any]:
    """Add the framework, whose default is described, and the dtype."""
    names = click.Choice(interface.BACKENDS)
    backend = click.option("--backend", type=names, help=f"Framework.  [default: {default}]")
    dtype = click.option(
        "--dtype", type=click.Choice(["float32", "float64"]), help="[default: as in the checkpoint]"
    )
    return lambda command: backend(dtype(machine_options(command)))


def decoding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of decoding; `method_of` makes sense of them."""
    for option in reversed(
        (
            click.option(
                "--beam", type=click.IntRange(1), help="Beam search with so many hypotheses."
            ),
            click.option("--length-penalty", type=float, help="Of beam search.  [default: 0.6]"),
            click.option(
                "--sample", is_flag=True, help="Draw tokens instead of the most likely ones."
            ),
            click.option("--temperature", type=float, help="Of sampling.  [default: 1]"),
            click.option("--top-k", type=int, help="Draw from the k most likely tokens only."),
            click.option("--seed", type=int, help="Of sampling.  [default: 0]"),
            click.option(
                "--max-steps", type=click.IntRange(1), help="Most tokens of a translation."
            ),
            click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True),
        )
    ):
        command = option(command)
    return command


def method_of(
    beam: int | None,
    length_penalty: float | None,
    sample: bool,
    temperature: float | None,
    top_k: int | None,
    seed: int | None,
    max_steps: int | None,
    batch_size: int,
) -> dict[str, Any]:
    """Return the arguments of `translations`, or say which options contradict each other."""
    common = {"max_steps": max_steps, "batch_size": batch_size}
    of_beam = {"length_penalty": length_penalty}
    of_sample = {"temperature": temperature, "top_k": top_k, "seed": seed}

    def given(options):
        return {name: value for name, value in options.items() if value is not None}

    def refuse(options, needed):
        for name in given(options):
            raise click.UsageError(f"--{name.replace('_', '-')} goes with {needed}")

    if beam is not None and sample:
        raise click.UsageError("--beam and --sample cannot be given together")
    if not sample:
        refuse(of_sample, "--sample")
    if beam is None:
        refuse(of_beam, "--beam")
    if sample:
        return {"method": "sample", **given(of_sample), **common}
    if beam is not None:
        return {"method": "beam", "beam": beam, **given(of_beam), **common}
    return {"method": "greedy", **common}


def translator(
    path: Path, saved: Checkpoint, backend: str | None, dtype: str | None
) -> tuple[Model, BucketedData]:
    """Return a checkpoint's model in a framework, and what `translations` needs of the data."""
    settings = settings_of(path, saved)
    if settings.model not in TRANSLATORS:
        raise checkpoint.CheckpointError(f"{path}: has no translator, but a {settings.model}")
    if saved.src_vocab is None or saved.tgt_vocab is None:
        raise _incomplete(path)
    checkpoint.check_marks(path, "src_vocab", saved.src_vocab, ("<pad>", "<eos>"))
    checkpoint.check_marks(path, "tgt_vocab", saved.tgt_vocab, ("<pad>", "<bos>", "<eos>"))
    data = BucketedData.without_pairs(saved.src_vocab, saved.tgt_vocab, settings.buckets)
    return saved.build(opened(installed_backend(backend, settings)), dtype), data


def first_backend(backend: str | None) -> interface.Backend:
    """Return the backend that is asked for, or else the first that is installed."""
    return opened(backend or next(iter(interface.installed()), "reference"))


def installed_backend(backend: str | None, settings: Settings) -> str:
    """Return the backend that is asked for, or else the one that trained, if it is installed."""
    installed = interface.installed()
    if backend is not None or not installed:
        return backend or settings.backend
    return settings.backend if settings.backend in installed else installed[0]


def settings_of(path: Path, saved: Checkpoint) -> Settings:
    """Return the settings of the run that wrote a checkpoint."""
    if "settings" not in saved.info:
        raise _incomplete(path)
    try:
        return read_settings(**saved.info["settings"])
    except (TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(f"{path}: its settings: {error}") from error


def _incomplete(path: Path) -> checkpoint.CheckpointError:
    return checkpoint.CheckpointError(
        f"{path}: has a model, but not what `d2l-ext train` writes beside it"
    )


def one_sentence(text: str) -> str:
    """Return a sentence given as an argument, with single spaces."""
    if not text.strip():
        raise UserError("SENTENCE: got an empty sentence, must have at least one word")
    return single_spaced(text)


def single_spaced(text: str) -> str:
    """Turn tabs, line ends and several spaces into one space; French spaces before marks stay."""
    return re.sub(r"[ \t\r\n\f\v]+", " ", text).strip(" ")


def plain(translation: Translation, data: BucketedData) -> str:
    """Return a translation as plain text."""
    return join(translation.tokens, data.tgt_vocab)


def num_tokens(line: str, data: BucketedData) -> int:
    """Return how many tokens a line has, with `<eos>`."""
    return len(cut(line, data.src_vocab))


def alternatives(translation: Translation, data: BucketedData) -> list[dict[str, Any]]:
    """Return what JSON says of the best translations of a beam search."""
    return [
        {
            "text": join(found.tokens, data.tgt_vocab),
            "tokens": labels(found.tokens, data.tgt_vocab),
            "score": found.score,
            "log_prob": found.log_prob,
        }
        for found in translation.alternatives
    ]


def as_object(line: str, translation: Translation | None, data: BucketedData) -> dict[str, Any]:
    """Return what JSON says of a translation; None is that of an empty line."""
    if translation is None:
        return {"source": line, "text": "", "tokens": []}
    return {
        "source": line,
        "text": plain(translation, data),
        "tokens": labels(translation.tokens, data.tgt_vocab),
        "log_prob": translation.log_prob,
        "unknown": unknown(line, data.src_vocab),
        "cut": num_tokens(line, data) > data.num_steps,
    }
