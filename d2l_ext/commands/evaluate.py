"""``d2l-ext evaluate``."""

import json
from pathlib import Path
from typing import Any

import click

from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import (
    as_object,
    decoding_options,
    installed_backend,
    method_of,
    model_options,
    num_tokens,
    opened,
    plain,
    settings_of,
    translator,
)
from d2l_ext.data import BucketedData, load_pairs
from d2l_ext.files import replacing
from d2l_ext.training.checkpoint import Checkpoint
from d2l_ext.training.checkpoint import load as read_checkpoint
from d2l_ext.training.evaluation import Evaluation
from d2l_ext.training.evaluation import evaluate as measure
from d2l_ext.training.settings import TRANSLATORS, Settings
from d2l_ext.training.tasks import digest, parts, task

PARTS = ("train", "val", "test")  # in the order of `parts`


@click.command()
@model_options
@click.option("--data", help="Another corpus.  [default: the one of the training]")
@click.option(
    "--part",
    type=click.Choice([*PARTS, "all"]),
    help="Part of the corpus.  [default: test, or all of another corpus]",
)
@click.option(
    "--long", is_flag=True, help="Also sentences longer than the model was trained on, cut."
)
@click.option("--limit", type=click.IntRange(1), help="Only so many source sentences.")
@click.option(
    "--show", type=click.IntRange(0), default=5, show_default=True, help="Translations to show."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File for all translations, as JSON lines."
)
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@decoding_options
def evaluate(
    checkpoint: Path,
    backend: str | None,
    dtype: str | None,
    data: str | None,
    part: str | None,
    long: bool,
    limit: int | None,
    show: int,
    output: Path | None,
    as_json: bool,
    **decoding: Any,
) -> None:
    """Measure a model on what was held out of its training.

    A translator translates the test part of its corpus, each distinct source sentence once, and is
    compared with all its translations (BLEU, by sacrebleu). gpt and bert have their loss on the
    validation part measured, vit the share of the test part that it recognises; of the options,
    --backend, --dtype and --json are theirs.
    """
    method = method_of(**decoding)
    saved = read_checkpoint(checkpoint)
    settings = settings_of(checkpoint, saved)
    if settings.model not in TRANSLATORS:
        given = {"data": data, "part": part, "limit": limit, "output": output, "long": long}
        if of_translators := [name for name, value in given.items() if value]:
            raise click.UsageError(f"--{of_translators[0]} goes with a translator")
        measured = _measured(checkpoint, saved, settings, backend, dtype)
        values = (f"{name} {value:.4f}" for name, value in measured.items())
        click.echo(json.dumps(measured) if as_json else ", ".join(values))
        return
    model, known = translator(checkpoint, saved, backend, dtype)
    part = part or ("all" if data else "test")
    pairs = load_pairs(data) if data else _pairs_of_the_training(saved, settings)
    if part != "all":
        pairs = parts(pairs, settings)[PARTS.index(part)]
    fitting = [p for p in pairs if num_tokens(p[0], known) <= known.num_steps]
    if left_out := 0 if long else len(pairs) - len(fitting):
        click.echo(
            f"left out: {left_out} of {len(pairs)} pairs, whose source has more than"
            f" {known.num_steps} tokens (--long takes them, cut)",
            err=True,
        )
    pairs = pairs if long else fitting
    if not pairs:
        raise UserError(
            f"{data or settings.data}: the part {part!r} has no sentence of at most"
            f" {known.num_steps} tokens"
        )
    result = measure(model, known, pairs, limit, progress=True, **method)
    if output is not None:
        _write_translations(output, result, known)
    if as_json:
        names = ("bleu", "cased", "with_unk", "signature")
        summary = {name: getattr(result, name) for name in names} | {"left_out": left_out}
        click.echo(json.dumps(summary | {"sentences": len(result.sources), "part": part}))
        return
    for source, references, found in list(
        zip(result.sources, result.references, result.found, strict=True)
    )[:show]:
        click.echo(
            f"{source}\n  {plain(found, known)}\n  ({' | '.join(dict.fromkeys(references))})"
        )
    click.echo(
        f"BLEU {result.bleu:.2f} on {len(result.sources)} sentences ({part}), {result.cased:.2f}"
        f" with case; {result.with_unk:.1%} have an <unk>\n{result.signature}"
    )


def _measured(
    path: Path, saved: Checkpoint, settings: Settings, backend: str | None, dtype: str | None
) -> dict[str, Any]:
    """Measure a model that is no translator."""
    own = task(settings)
    if own.digest != saved.info.get("digest"):
        raise UserError(f"{path}: was trained on other data than {settings.data} is now")
    model = saved.build(opened(installed_backend(backend, settings)), dtype)
    trainer = model.backend.trainer(model, settings.lr, pad=own.train.pad)
    return own.test(model, trainer)


def _pairs_of_the_training(saved: Checkpoint, settings: Settings) -> list[tuple[str, str]]:
    """Read the corpus again; if it has changed, its test part is not what was held out."""
    pairs = load_pairs(settings.data)[: settings.max_pairs or None]
    if digest(pairs) != saved.info.get("digest"):
        raise UserError(
            f"{settings.data}: has changed since the model was trained on it, so there is no"
            " telling what was held out; give it with --data to translate it all the same"
        )
    return pairs


def _write_translations(path: Path, result: Evaluation, data: BucketedData) -> None:
    with replacing(path) as file:
        for source, references, found in zip(
            result.sources, result.references, result.found, strict=True
        ):
            entry = as_object(source, found, data) | {
                "references": references,
                "smallest_margin": float(min(found.margins)),
            }
            file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
