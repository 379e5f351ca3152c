"""``python -m d2l_ext compare``."""

import functools
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from d2l_ext import interface, reference
from d2l_ext.agreement.cases import models
from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.named import named
from d2l_ext.agreement.cases.plans import TranslationPlan
from d2l_ext.agreement.comparison import Comparison
from d2l_ext.agreement.judging.unfinished import NAME, Unfinished, code
from d2l_ext.agreement.reporting.folder import write
from d2l_ext.agreement.reporting.report import MAIN, Report
from d2l_ext.agreement.reporting.terminal import show
from d2l_ext.agreement.spread import ClusterError, spread
from d2l_ext.commands.doctor import PACKAGES
from d2l_ext.config import describe
from d2l_ext.data import TranslationData, load_pairs
from d2l_ext.progress import Bars
from d2l_ext.randomness import generator

# D2L's four sentences, with translations that count as right.
D2L_SENTENCES = (
    ("go .", "va !"),
    ("i lost .", "j'ai perdu ."),
    ("he's calm .", "il est calme ."),
    ("i'm home .", "je suis chez moi ."),
)

EPILOG = """\b
Examples:
  python -m d2l_ext compare
  python -m d2l_ext compare --backends torch,jax --dtype float64
  python -m d2l_ext compare --data fra-eng --dropout 0.2
  python -m d2l_ext compare --cases all --train all
  python -m d2l_ext compare --cases recurrent/GRU --train none
  python -m d2l_ext compare --cases all --scheduler tcp://10.0.0.1:8786
"""


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read a list of backends."""
    names = tuple(name.strip() for name in value.split(",")) if value else interface.COLUMNS
    for name in names:
        if name not in interface.COLUMNS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(interface.COLUMNS)}")
    return tuple(dict.fromkeys(names))


def _interpreters(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    """Read BACKEND=PATH pairs."""
    found = {}
    for value in values:
        name, _, path = value.partition("=")
        if name not in interface.COLUMNS or not path:
            raise click.BadParameter(f"{value!r} is not like torch=/path/to/python")
        if not os.access(path, os.X_OK):
            raise click.BadParameter(f"{path!r} is no program")
        found[name] = path
    return found


def _cases(ctx: click.Context, param: click.Parameter, value: str) -> list[Case]:
    """Read "sample", "all", "none", the name of a case or the beginning of several names."""
    try:
        return named(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog=EPILOG)
@click.option(
    "--data",
    default="bundled",
    show_default=True,
    help="bundled, fra-eng (downloaded), or a file with a pair of sentences on each line.",
)
@click.option(
    "--backends", callback=_names, help="Frameworks, separated by commas.  [default: all]"
)
@click.option(
    "--dtype", type=click.Choice(["both", "float64", "float32"]), default="both", show_default=True
)
@click.option("--epochs", type=click.IntRange(1), help="Times through the data.  [default: 30]")
@click.option(
    "--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True
)
@click.option(
    "--report",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default="report",
    show_default=True,
    help="Folder for report.json and the pictures.",
)
@click.option("--seed", default=0, show_default=True, help="Of everything random.")
@click.option(
    "--cases",
    callback=_cases,
    default="sample",
    show_default=True,
    metavar="NAME",
    help="Cases of the single classes and functions: sample, all, none, a case's name (of a"
    " generated one, too) or the beginning of several names.",
)
@click.option(
    "--train",
    type=click.Choice(["main", "models", "all", "none"]),
    default="main",
    show_default=True,
    help="What is trained: one model as in D2L, every model of the book in small, or both.",
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    callback=_interpreters,
    metavar="BACKEND=PATH",
    help="Run a backend with an interpreter of its own.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Let a Dask cluster do the cases, on one machine or many: its scheduler's address, like"
    " tcp://10.0.0.1:8786.",
)
@click.option(
    "--limit", default=600.0, show_default=True, help="Seconds that a framework may be silent."
)
def compare(
    data: str,
    backends: tuple[str, ...],
    dtype: str,
    epochs: int | None,
    dropout: float,
    folder: Path,
    seed: int,
    cases: list[Case],
    train: str,
    pythons: dict[str, str],
    scheduler: str | None,
    limit: float,
) -> None:
    """Train in several frameworks and compare everything.

    Each framework computes the same cases (outputs, attention weights, gradients, optimiser steps)
    and trains the same translation model from the same start. What they compute is compared with
    an exact reference, and what they learn with one another; the error allowed is measured, not
    chosen. One framework alone is compared with the reference. The exit status is 0 only if
    everything agrees.
    """
    console = Console()
    names, left_out = _available(backends, pythons)
    for name, why in left_out.items():
        console.print(f"left out: {name} ({why})", markup=False, highlight=False)
    if len(names) == 1:
        if train != "none":
            console.print(f"{names[0]} alone: cases only, since training is compared between two")
        train = "none"
        if not cases:
            raise click.UsageError(f"{names[0]} alone has only cases to compare, not none")
    dtypes = ("float64", "float32") if dtype == "both" else (dtype,)
    plans = {MAIN: _plan(data, epochs, dropout, seed)} if train in ("main", "all") else {}
    if train in ("models", "all"):
        plans |= models.plans(seed)
    settings = {
        "data": data,
        "dtypes": list(dtypes),
        "epochs": plans[MAIN].epochs if MAIN in plans else 0,
        "dropout": dropout,
        "seed": seed,
        "cases": len(cases),
        "models": len(plans) - (MAIN in plans),
        "restarts": max((plan.draws for plan in plans.values()), default=0),
    }
    if scheduler and pythons:
        raise click.UsageError("--python is of this machine; it does not go with --scheduler")
    decisive = {"seed": seed, "pythons": pythons, "versions": _versions(names)}
    unfinished = Unfinished(folder / NAME, decisive)
    if len(unfinished):
        console.print(f"{len(unfinished)} cases are known from a comparison that was interrupted")
    bars = Bars(names)
    comparison = Comparison(
        names, cases, plans, dtypes, seed, pythons, limit, bars.show, unfinished
    )
    if not scheduler:
        console.print(f"about {comparison.minutes} min on two cores, less where cases are known")
    try:
        with bars:
            if scheduler:
                alike = functools.partial(_alike, names)
                todo = names, cases, dtypes, seed, limit
                spread(scheduler, *todo, unfinished, alike, bars.show)
            outcomes = comparison.run()
    except KeyboardInterrupt:
        raise click.ClickException(
            f"interrupted; the same command goes on with what is in {folder / NAME}"
        ) from None
    except ClusterError as error:
        raise click.ClickException(str(error)) from None
    report = Report(outcomes, plans, dtypes, settings, left_out)
    files = write(report, folder)
    unfinished.end()
    show(report, console)
    console.print(f"written to {folder}: {', '.join(files)}", markup=False, highlight=False)
    sys.exit(0 if report.agrees else 1)


def _versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of what computes here; those of other interpreters are not known."""
    packages = ["numpy", *(package for name in names for package in PACKAGES[name])]
    found = {d.name: d.version for d in importlib.metadata.distributions()}
    return {package: found[package] for package in packages if package in found}


def _alike(names: Sequence[str]) -> dict[str, Any]:
    """Return what is equal on machines whose verdicts go into one report."""
    return {"code": code(), **_versions(names)}


def _available(
    backends: Sequence[str], pythons: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return the backends that can be compared, and why the others can't."""
    installed = {*interface.installed(), *pythons}
    left_out = {b: interface.install(b) for b in backends if b not in installed}
    names = [b for b in backends if b in installed]
    if not names:
        missing = "; ".join(f"{b}: {how}" for b, how in left_out.items())
        raise click.UsageError(f"a framework is needed, but none is there ({missing})")
    return names, left_out


def _plan(source: str, epochs: int | None, dropout: float, seed: int) -> TranslationPlan:
    """Decide what is trained: small on the bundled corpus, as D2L does on any other."""
    pairs = load_pairs(source)
    if source == "bundled":
        pairs = _short(pairs)[:192]
        size, layers, epochs, lr = 64, 2, epochs or 30, 0.01
        data = TranslationData(
            pairs, num_steps=8, min_freq=1, num_train=len(pairs), num_val=0, batch_size=64
        )
        translated = pairs
    else:
        size, layers, epochs, lr = 256, 2, epochs or 30, 0.005
        train = min(512, len(pairs))
        data = TranslationData(pairs, num_train=train, num_val=min(128, len(pairs) - train))
        translated = [*D2L_SENTENCES, *pairs[:train]]
    sizes: tuple[Any, ...] = (size, size, layers, dropout)
    target = describe(
        reference.EncoderDecoder(
            reference.Seq2SeqEncoder(len(data.src_vocab), *sizes),
            reference.Seq2SeqAttentionDecoder(len(data.tgt_vocab), *sizes),
        )
    )
    sentences, references = map(list, zip(*translated, strict=True))
    return TranslationPlan(
        data=data,
        target=target,
        epochs=epochs,
        lr=lr,
        max_norm=1.0,
        seed=seed,
        sentences=sentences,
        references=references,
    )


def _short(pairs: list[tuple[str, str]], most: int = 5) -> list[tuple[str, str]]:
    """Return the pairs of few words, one per source, in an order of their own."""
    one_each = {}
    for pair in pairs:
        one_each.setdefault(pair[0], pair)
    pairs = [p for p in one_each.values() if max(len(side.split()) for side in p) <= most]
    return [pairs[i] for i in generator(0, "bundled pairs").permutation(len(pairs))]
