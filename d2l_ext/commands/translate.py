"""``d2l-ext translate``."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import (
    alternatives,
    as_object,
    decoding_options,
    method_of,
    model_options,
    num_tokens,
    one_sentence,
    plain,
    single_spaced,
    translator,
)
from d2l_ext.data import BucketedData
from d2l_ext.data.sentences import unknown
from d2l_ext.files import replacing
from d2l_ext.training.checkpoint import load as read_checkpoint
from d2l_ext.training.translation import Translation, translations


@click.command()
@model_options
@click.argument("sentence", required=False)
@click.option(
    "--input", "file", type=click.Path(path_type=Path), help="File with a sentence per line."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write to, when all is translated."
)
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object per sentence.")
@click.option(
    "--n-best",
    type=click.IntRange(1),
    help="The best of --beam's translations, each with the sentence's number and its score.",
)
@decoding_options
def translate(
    checkpoint: Path,
    backend: str | None,
    dtype: str | None,
    sentence: str | None,
    file: Path | None,
    output: Path | None,
    as_json: bool,
    n_best: int | None,
    **decoding: Any,
) -> None:
    """Translate SENTENCE, a file, or standard input, line by line.

    An empty line gives an empty line. With --n-best each sentence has several lines, of its number,
    the score that the beam search compares by, and the translation. Words that the model does not
    know and sentences longer than it was trained on, whose end is left out, are named on standard
    error, or in the JSON.
    """
    if sentence is not None and file is not None:
        raise click.UsageError("SENTENCE and --input cannot be given together")
    method = method_of(**decoding)
    if n_best is not None:
        if n_best > method.get("beam", 0):
            raise click.UsageError(f"--n-best {n_best} goes with --beam {n_best} or more")
        method["n_best"] = n_best
    if sentence is not None:
        lines, name = [one_sentence(sentence)], None
    else:
        lines, name = _read_lines(file), str(file or "standard input")
    model, data = translator(checkpoint, read_checkpoint(checkpoint), backend, dtype)
    full = [line for line in lines if line.strip()]
    done = iter(translations(model, data, full, progress=True, **method))
    written = []
    for number, line in enumerate(lines, start=1):
        translation = next(done) if line.strip() else None
        if as_json:
            found = as_object(line, translation, data)
            if n_best is not None and translation is not None:
                found["n_best"] = alternatives(translation, data)
            written.append(json.dumps(found, ensure_ascii=False))
            continue
        _warn(name, number, line, translation, data)
        if n_best is not None and translation is not None:
            ranked = alternatives(translation, data)
            written += (f"{number}\t{a['score']:.4f}\t{a['text']}" for a in ranked)
        else:
            written.append("" if translation is None else plain(translation, data))
    if output is None:
        click.echo("".join(f"{line}\n" for line in written), nl=False)
        return
    with replacing(output) as stream:
        stream.writelines(f"{line}\n".encode() for line in written)
    click.echo(f"{output}: {len(full)} sentences")


def _read_lines(file: Path | None) -> list[str]:
    """Return the lines of a file, or of standard input, without their ends."""
    name = file or "standard input"
    if file is None and sys.stdin.isatty():
        click.echo("a sentence on each line; Ctrl-D ends", err=True)
    data = sys.stdin.buffer.read() if file is None else file.read_bytes()
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    decoded = []
    for number, line in enumerate(lines, start=1):
        try:
            decoded.append(single_spaced(line.decode()))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}, line {number}: got byte {error.start + 1} that is not UTF-8,"
                " must be UTF-8"
            ) from None
    return decoded


def _warn(
    name: str | None, number: int, line: str, translation: Translation | None, data: BucketedData
) -> None:
    if translation is None:
        return
    where = "" if name is None else f"{name}, line {number}: "
    words = unknown(line, data.src_vocab)
    if words:
        shown = ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
        click.echo(f"{where}unknown words: {shown}", err=True)
    if num_tokens(line, data) > data.num_steps:
        click.echo(
            f"{where}only the first {data.num_steps} of {num_tokens(line, data)} tokens are"
            " translated",
            err=True,
        )
