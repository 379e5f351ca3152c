"""``d2l-ext plot``."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from jaxtyping import Float

from d2l_ext import fonts, plotting
from d2l_ext.attention_page import AttentionPage
from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import (
    decoding_options,
    first_backend,
    method_of,
    model_options,
    one_sentence,
    plain,
    translator,
)
from d2l_ext.data.sentences import labels
from d2l_ext.training import embedding
from d2l_ext.training.checkpoint import load as read_checkpoint
from d2l_ext.training.translation import translations


@click.command()
@model_options
@click.argument("sentence")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="attention.png",
    show_default=True,
    help="Picture to write; its ending is the format: .png, .svg, .pdf, or .html, a page to look"
    " into, with all blocks and heads.",
)
@click.option("--heads", is_flag=True, help="A map for each head of each block.")
@click.option("--steps", is_flag=True, help="A panel for each token that looks.")
@click.option("--block", type=click.IntRange(1), help="One of the blocks.  [default: the last]")
@click.option("--head", type=click.IntRange(1), help="One of its heads.  [default: their mean]")
@decoding_options
def plot(
    checkpoint: Path,
    backend: str | None,
    dtype: str | None,
    sentence: str,
    output: Path,
    heads: bool,
    steps: bool,
    block: int | None,
    head: int | None,
    **decoding: Any,
) -> None:
    """Draw where a model looked when it translated SENTENCE, or when it read it, if it is BERT.

    CHECKPOINT may also be a folder with a BERT of Hugging Face's, or all-MiniLM-L6-v2.
    """
    if heads + steps + (block is not None or head is not None) > 1:
        raise click.UsageError("--heads, --steps, and --block or --head, cannot be given together")
    sentence = one_sentence(sentence)
    method = method_of(**decoding)
    saved = None if embedding.is_folder(checkpoint) else read_checkpoint(checkpoint)
    if saved is None or saved.model["class"] == embedding.TRAINED:
        _refuse_decoding(method)
        encoder = embedding.load(checkpoint, first_backend(backend), dtype, saved)
        source, weights = encoder.weights(sentence)
        target, text = source, " ".join(source)
    else:
        model, data = translator(checkpoint, saved, backend, dtype)
        (found,) = translations(model, data, [sentence], keep_weights=True, **method)
        source = labels(found.source, data.src_vocab)
        weights, text = found.attention_weights, plain(found, data)
        if weights is None:
            raise UserError(f"{checkpoint}: the model has no attention to draw")
        if weights.ndim == 2:
            weights = weights[None, None]
        target = [*labels(found.tokens, data.tgt_vocab), "<eos>"][: weights.shape[2]]
    blocks = [f"block {i + 1}" for i in range(weights.shape[0])]
    columns = [f"head {i + 1}" for i in range(weights.shape[1])]
    if output.suffix != ".html":
        _warn_of_missing(fonts.families([*source, *target])[1])
    if output.suffix == ".html":
        AttentionPage(weights, source, target, sentence).save(output)
    elif steps:
        plotting.attention_steps(weights, source, target, path=output)
    elif heads:
        plotting.attention_grid(weights, source, target, blocks, columns, path=output)
    else:
        plotting.attention_map(_chosen(weights, block, head), source, target, path=output)
    click.echo(f"{text}\n{output}")


def _warn_of_missing(characters: set[str]) -> None:
    if characters:
        click.echo(
            f"no font here has {' '.join(sorted(characters))}, so their numbers are shown;"
            " --output attention.html needs none",
            err=True,
        )


def _refuse_decoding(method: dict[str, Any]) -> None:
    """Refuse what only a translator can do."""
    if method["method"] != "greedy":
        raise click.UsageError(f"--{method['method']} goes with a translator")
    if method["max_steps"] is not None:
        raise click.UsageError("--max-steps goes with a translator")


def _chosen(
    weights: Float[np.ndarray, "blocks heads target source"], block: int | None, head: int | None
) -> Float[np.ndarray, "target source"]:
    """Return the map of a block's head, or the mean of all heads."""
    for name, number, size in zip(("block", "head"), (block, head), weights.shape, strict=False):
        if number is not None and number > size:
            raise UserError(f"--{name}: got {number}, must be at most {size}")
    maps = weights[-1 if block is None else block - 1]
    return maps.mean(axis=0) if head is None else maps[head - 1]
