"""``d2l-ext plot``."""

from pathlib import Path
from typing import Any

import click

from d2l_ext import plotting
from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import (
    decoding_options,
    load,
    method_of,
    model_options,
    one_sentence,
    plain,
)
from d2l_ext.training.translation import translations


@click.command()
@model_options
@click.argument("sentence")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="attention.png",
    show_default=True,
    help="Picture to write; its ending is the format.",
)
@click.option("--heads", is_flag=True, help="A map for each head of each block of a Transformer.")
@click.option("--steps", is_flag=True, help="A panel for each token of the translation.")
@decoding_options
def plot(
    checkpoint: Path,
    backend: str | None,
    dtype: str | None,
    sentence: str,
    output: Path,
    heads: bool,
    steps: bool,
    **decoding: Any,
) -> None:
    """Draw where a model looked when it translated SENTENCE."""
    if heads and steps:
        raise click.UsageError("--heads and --steps cannot be given together")
    sentence = one_sentence(sentence)
    method = method_of(**decoding)
    _, model, data = load(checkpoint, backend, dtype)
    (found,) = translations(model, data, [sentence], keep_weights=True, **method)
    weights = found.attention_weights
    if weights is None:
        raise UserError(f"{checkpoint}: the model has no attention to draw")
    if weights.ndim == 2:
        weights = weights[None, None]
    target = [*found.tokens, "<eos>"][: weights.shape[2]]
    blocks = [f"block {i + 1}" for i in range(weights.shape[0])]
    columns = [f"head {i + 1}" for i in range(weights.shape[1])]
    if steps:
        plotting.attention_steps(weights, found.source, target, path=output)
    elif heads:
        plotting.attention_grid(weights, found.source, target, blocks, columns, path=output)
    else:  # what all heads of the last block look at, on the average
        plotting.attention_map(weights[-1].mean(axis=0), found.source, target, path=output)
    click.echo(f"{plain(found)}\n{output}")
