"""``d2l-ext train``."""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from d2l_ext.commands.options import asked, machine_options, opened
from d2l_ext.parallel import launch
from d2l_ext.parallel.hosts import PORT
from d2l_ext.training import run
from d2l_ext.training.settings import TRANSLATORS, Settings, read_settings
from d2l_ext.training.stopping import Stopped


def _settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each setting; one that is not given is None."""
    for spec in reversed(dataclasses.fields(Settings)):
        default: Any = spec.default
        kind = type(default)
        shown = ",".join(map(str, default)) if kind is tuple else default
        command = click.option(
            "--" + spec.name.replace("_", "-"),
            spec.name,
            type=str if kind is tuple else kind,
            callback=_whole_numbers if kind is tuple else None,
            help=f"{spec.metadata['help']}  [default: {shown}]",
        )(command)
    return command


def _whole_numbers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list like 8,12,16") from None


def _addresses(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    found = tuple(part.strip() for part in (value or "").split(",")) if value is not None else ()
    if not all(found):
        raise click.BadParameter(f"{value!r} is no list like 10.0.0.1,10.0.0.2")
    return found


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run.  [default: runs/MODEL-BACKEND]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="TOML file with settings; options win over it.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Go on with the run in this folder, with its settings.",
)
@machine_options
@click.option("--workers", type=click.IntRange(1), help="Processes on this machine.  [default: 1]")
@click.option(
    "--hosts",
    callback=_addresses,
    help="Addresses of machines, a worker on each, like 10.0.0.1,10.0.0.2; the first one leads. The"
    " same command is started on each of them.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65000),
    help=f"Where the first machine listens; the workers' ports follow it.  [default: {PORT}]",
)
@_settings_options
def train(
    out: Path | None,
    config: Path | None,
    resume: Path | None,
    workers: int | None,
    hosts: tuple[str, ...],
    port: int | None,
    **given: Any,
) -> None:
    """Train a translation model, or with --model gpt, bert or vit another one.

    gpt goes on with texts, bert fills in hidden words and vit classifies images.

    The folder gets the settings (config.toml), the latest and the best checkpoint, a log as JSON
    lines and a picture of the losses. Ctrl-C and SIGTERM end the step and write a checkpoint. A run
    that was stopped or killed, at whatever moment, is resumed with --resume and ends as if it had
    never been stopped; --resume with --epochs lengthens it, also when it had ended.

    With --workers or --hosts several processes share every batch, and do what one would have done:
    losses differ by rounding alone. A run may be resumed with any number of them. A worker that
    dies ends the run; nothing that a checkpoint has is lost. For example, on each of two machines:

        d2l-ext train --hosts 10.0.0.1,10.0.0.2

    In float64, frameworks that train with the same settings stay together. In float32 rounding
    grows: losses agree for some hundred steps, later the quality does. One checkpoint gives the
    same tokens in every framework.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None and (out or config or given.keys() - {"epochs"}):
        raise click.UsageError(
            "--resume takes everything from the run's folder: only --epochs, --workers, --hosts and"
            " --port can be given with it"
        )
    if port is not None and not hosts:
        raise click.UsageError("--port goes with --hosts")
    several = bool(hosts) or (workers or 1) > 1
    if asked("device") is not None and several:
        raise click.UsageError("--device goes with one process; several compute on the processor")
    plan = launch.plan(workers, hosts, port) if several else None
    try:
        if resume is not None:
            epochs = given.get("epochs")
            if plan is not None:
                launch.train(plan, resume, None, epochs, resume=True, report=click.echo)
                return
            opened(run.settings_of(resume).backend)
            run.resume(resume, report=click.echo, progress=True, epochs=epochs)
            return
        settings = _with_absolute_data(read_settings(config, **given))
        _refuse_what_the_model_has_not(settings.model, given)
        _refuse_what_the_tokens_have_not(settings, given)
        out = out or Path("runs") / f"{settings.model}-{settings.backend}"
        if plan is not None:
            launch.train(plan, out, settings, report=click.echo)
            return
        opened(settings.backend)
        run.start(out, settings, report=click.echo, progress=True)
    except Stopped as stop:
        click.echo("; ".join([str(stop), *_how_to_go_on(resume or out)]), err=True)
        sys.exit(128 + stop.signal)
    except KeyboardInterrupt:
        click.echo("\n" + "; ".join(["stopped", *_how_to_go_on(resume or out)]), err=True)
        sys.exit(130)
    except OSError as error:  # a full disk, say
        for note in _how_to_go_on(resume or out):
            error.add_note(note)
        raise


def _how_to_go_on(folder: Path | None) -> Iterator[str]:
    if folder is not None and (folder / run.CONFIG).exists():
        yield f"go on with:  d2l-ext train --resume {folder}"


BLOCKS = ("transformer", "gpt", "bert", "vit")
# Settings that some models do not use; a file of settings may have them all the same.
_MODELS_WITH = {
    "embed_size": ("seq2seq", "bahdanau", "luong"),
    "num_heads": BLOCKS,
    "ffn_num_hiddens": BLOCKS,
    "num_steps": ("gpt", "bert"),
    "patch_size": ("vit",),
    "tokens": TRANSLATORS,
    "vocab_size": TRANSLATORS,
    "min_freq": (*TRANSLATORS, "gpt", "bert"),
    "attention": ("luong",),
    "buckets": TRANSLATORS,
    "max_pairs": TRANSLATORS,
    "test_fraction": (*TRANSLATORS, "vit"),
    "teacher_forcing_ratio": TRANSLATORS,
    "bleu_sentences": TRANSLATORS,
} | dict.fromkeys(
    ("num_kv_heads", "position", "norm", "activation", "window", "num_experts", "level"),
    ("gpt",),
)


def _refuse_what_the_model_has_not(model: str, given: Iterable[str]) -> None:
    for name, models in _MODELS_WITH.items():
        if name in given and model not in models:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} goes with --model {' or '.join(models)}, not {model}")


def _refuse_what_the_tokens_have_not(settings: Settings, given: Iterable[str]) -> None:
    if settings.tokens == "subwords" and "min_freq" in given:
        raise click.UsageError("--min-freq goes with --tokens words: subwords have no <unk>")
    if settings.tokens == "words" and "vocab_size" in given:
        raise click.UsageError("--vocab-size goes with --tokens subwords")


def _with_absolute_data(settings: Settings) -> Settings:
    """Make the path of a corpus independent of the folder that the run is resumed in."""
    if settings.data in ("bundled", "fra-eng", "time-machine"):
        return settings
    return dataclasses.replace(settings, data=str(Path(settings.data).resolve()))
