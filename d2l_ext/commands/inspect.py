"""``d2l-ext inspect``."""

import json
from pathlib import Path
from typing import Any

import click

from d2l_ext.training.checkpoint import load


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write everything but the numbers as JSON.")
def inspect(checkpoint: Path, as_json: bool) -> None:
    """Show what is in a checkpoint, without a framework."""
    saved = load(checkpoint)
    shapes = {name: list(x.shape) for name, x in saved.parameters.items()}
    number = sum(x.size for x in saved.parameters.values())
    training = None if saved.training is None else {"num_steps": saved.training["num_steps"]}
    if as_json:
        click.echo(
            json.dumps(
                {
                    "model": saved.model,
                    "dtype": saved.dtype,
                    "parameters": shapes,
                    "training": training,
                    "seed": saved.seed,
                    "info": saved.info,
                },
                ensure_ascii=False,
            )
        )
        return
    _print_description(saved.model)
    for side in ("src_vocab", "tgt_vocab"):
        vocab = getattr(saved, side)
        click.echo(f"{side}: {'none' if vocab is None else f'{len(vocab)} tokens'}")
    steps = "none" if training is None else f"after step {training['num_steps']}"
    click.echo(f"training state: {steps}; seed: {saved.seed}")
    for name, value in saved.info.items():
        click.echo(f"{name}: {json.dumps(value, ensure_ascii=False)}")
    width = max(map(len, shapes))
    click.echo(f"{number:,} parameters, {saved.dtype}:")
    for name, shape in sorted(shapes.items()):
        click.echo(f"  {name:{width}}  {' x '.join(map(str, shape))}")


def _print_description(description: dict[str, Any], name: str = "model", indent: int = 0) -> None:
    config = description["config"]
    plain = {k: v for k, v in config.items() if not isinstance(v, dict)}
    arguments = ", ".join(f"{k}={v!r}" for k, v in plain.items())
    click.echo(f"{'  ' * indent}{name}: {description['class']}({arguments})")
    for key, value in config.items():
        if isinstance(value, dict):
            _print_description(value, key, indent + 1)
