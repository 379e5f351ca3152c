"""``d2l-ext generate``."""

from pathlib import Path

import click
import numpy as np

from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import installed_backend, model_options, opened, settings_of
from d2l_ext.data import join_tokens, split_text
from d2l_ext.data.vocabulary import Vocab
from d2l_ext.interface import Model
from d2l_ext.training import checkpoint
from d2l_ext.training.generation import generate as go_on
from d2l_ext.training.generation import speculate

EPILOG = """\b
Examples:
  d2l-ext train --model gpt --out runs/text
  d2l-ext generate runs/text/best.safetensors "The " --temperature 0.8 --top-p 0.9
"""


@click.command(epilog=EPILOG)
@model_options
@click.argument("prompt", default="\n")
@click.option("--max-steps", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=0.8,
    show_default=True,
    help="0 takes the most likely token.",
)
@click.option("--top-k", type=click.IntRange(1), help="Draw from the k most likely tokens only.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Draw from the most likely tokens that have this probability together.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random numbers.")
@click.option("--num", type=click.IntRange(1), default=1, show_default=True, help="Of texts.")
@click.option(
    "--draft",
    type=click.Path(path_type=Path),
    help="Checkpoint of a smaller model that drafts: the same distribution, perhaps sooner.",
)
def generate(
    checkpoint: Path,
    backend: str | None,
    dtype: str | None,
    prompt: str,
    max_steps: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    num: int,
    draft: Path | None,
) -> None:
    """Go on with PROMPT, by default the start of a line.

    Random numbers are NumPy's: all frameworks write the same text.
    """
    model, vocab, level = load(checkpoint, backend, dtype)
    tokens = split_text(prompt, level)
    if unknown := [token for token in dict.fromkeys(tokens) if token not in vocab]:
        shown = ", ".join(map(repr, unknown[:5]))
        click.echo(f"unknown {level}s, which the model sees as {vocab.unk}: {shown}", err=True)
    ids = np.array(vocab[tokens])
    if draft is None:
        sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
        texts = go_on(model, np.tile(ids, (num, 1)), max_steps, **sampling).tokens
    else:
        if top_k is not None or top_p is not None or num > 1:
            raise click.UsageError("--draft goes without --top-k, --top-p and --num")
        small, other, _ = load(draft, backend, dtype)
        if other.to_list() != vocab.to_list():
            raise UserError(f"{draft}: has another vocabulary than {checkpoint}")
        text, share = speculate(model, small, ids, max_steps, temperature=temperature, seed=seed)
        click.echo(f"{share:.0%} of the drafted tokens were accepted", err=True)
        texts = [text]
    for text in texts:
        click.echo(join_tokens([*tokens, *vocab.to_tokens(text)], level))


def load(path: Path, backend: str | None, dtype: str | None) -> tuple[Model, Vocab, str]:
    """Return a language model in a framework, its vocabulary and what its tokens are."""
    saved = checkpoint.load(path)
    settings = settings_of(path, saved)
    if settings.model != "gpt" or saved.tgt_vocab is None:
        raise checkpoint.CheckpointError(f"{path}: has no language model, but a {settings.model}")
    chosen = opened(installed_backend(backend, settings))
    return saved.build(chosen, dtype), saved.tgt_vocab, settings.level
