"""``d2l-ext export``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import translator
from d2l_ext.data import BucketedData
from d2l_ext.export import ctranslate2, engines
from d2l_ext.files import new_folder
from d2l_ext.interface import Model
from d2l_ext.training.checkpoint import Checkpoint, CheckpointError
from d2l_ext.training.checkpoint import load as read_checkpoint
from d2l_ext.training.translation import translations

EPILOG = """\b
Examples:
  d2l-ext export runs/transformer-torch/best.safetensors --to ctranslate2
  d2l-ext export runs/bahdanau-torch/best.safetensors --to onnx --check sentences.txt
"""
BEAM = 4  # of the check


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(["onnx", "ctranslate2"]), required=True, help="Format.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A new folder.  [default: beside the checkpoint, called as the format]",
)
@click.option(
    "--check",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with a sentence per line, which the exported model and the original translate,"
    " greedily and by beam search; the exit status is 1 if they differ.",
)
def export(checkpoint: Path, to: str, output: Path | None, check: Path | None) -> None:
    """Write a translator as those who serve it take it: ONNX graphs, or a CTranslate2 model.

    Whatever framework has trained it, PyTorch writes the graphs, of the encoder and of a step of
    the decoder with its caches. CTranslate2 takes Transformers. Both give the same tokens. What it
    needs: pip install 'd2l-ext[torch,export]'.
    """
    folder = output or checkpoint.parent / to
    saved = read_checkpoint(checkpoint)
    try:
        with new_folder(folder) as part:
            model, data = translator(checkpoint, saved, "torch", "float32")
            if to == "ctranslate2":
                _write_ctranslate2(checkpoint, saved, part)
            else:
                from d2l_ext.torch import onnx  # it loads PyTorch

                onnx.write(model, data, part)
    except FileExistsError as error:
        raise UserError(str(error)) from None
    click.echo(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if check is not None:
        sentences = [
            line for line in check.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
        _compare(_engine(to, folder, data), model, data, sentences)


def _write_ctranslate2(checkpoint: Path, saved: Checkpoint, folder: Path) -> None:
    try:
        ctranslate2.write(saved, folder)
    except CheckpointError as error:
        raise UserError(f"{checkpoint}: {error}") from None


def _engine(to: str, folder: Path, data: BucketedData) -> Any:
    if to == "ctranslate2":
        return engines.CTranslate2Model(folder, data)
    return engines.OnnxModel(folder)


def _compare(engine: Any, model: Model, data: BucketedData, sentences: Sequence[str]) -> None:
    different = 0
    for beam in (1, BEAM):
        method = engines.method(beam)
        wanted = [t.tokens for t in translations(model, data, sentences, progress=True, **method)]
        same = sum(a == b for a, b in zip(engine.translate(sentences, beam), wanted, strict=True))
        how = f"by a beam of {beam}" if beam > 1 else "greedily"
        click.echo(f"{how}: {same} of {len(sentences)} translations are the same")
        different += len(sentences) - same
    if different:
        raise click.ClickException("the exported model translates differently")
