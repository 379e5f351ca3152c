"""``d2l-ext locate``."""

import sys

import click
from rich.console import Console

from d2l_ext import interface
from d2l_ext.agreement.cases.job import Job
from d2l_ext.agreement.cases.named import named
from d2l_ext.agreement.judging.solved import SolvedCase
from d2l_ext.agreement.judging.verdict import verdicts
from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import machine_options, opened
from d2l_ext.config import build
from d2l_ext.porting import locate as find
from d2l_ext.porting import locate_traces
from d2l_ext.porting.result import Located
from d2l_ext.reference.backend import BACKEND


@click.command()
@click.argument("case", metavar="CASE | A.trace B.trace")
@click.argument("other", required=False, metavar="")
@click.option("--backend", type=click.Choice(interface.COLUMNS), help="Framework to look into.")
@click.option("--seed", default=0, show_default=True, help="Of the case's numbers.")
@click.option(
    "--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True
)
@click.option("--page", metavar="FILE", help="Write both models side by side as a page of HTML.")
@machine_options
def locate(
    case: str,
    other: str | None,
    backend: str | None,
    seed: int,
    dtype: str,
    page: str | None,
) -> None:
    """Find the layer in which a framework leaves the NumPy reference, in a case of compare.

    What is beyond its budget is listed first. Then the module of CASE runs in both, with the same
    parameters and inputs, without dropout, layer by layer. Given two files of
    d2l_ext.porting.trace, find where the second leaves the first. The exit status is 0 only if
    everything agrees.
    """
    if other is not None:
        located = locate_traces(case, other)
        _show(located, page)
        sys.exit(bool(located.differences))
    if backend is None:
        raise UserError("--backend: is missing, must be a framework to look into")
    try:
        cases = named(case)
    except ValueError as error:
        raise UserError(f"CASE: {error}") from None
    if len(cases) > 1:
        raise UserError(f"CASE: got {case!r}, must be one of {', '.join(c.name for c in cases)}")
    solved, chosen = SolvedCase(cases[0], seed), opened(backend)
    found = verdicts(solved, chosen, dtype)
    wrong = [v for v in found if not v.agrees]
    if not wrong:
        click.echo(f"{case}: {len(found)} tensors are within their budgets")
        if page is None:
            return
    for verdict in wrong:
        click.echo(str(verdict))
    if solved.job.is_function:
        click.echo("it is a function, which has no layers to look into")
    else:
        _show(_layers(solved.job, chosen, dtype), page)
    sys.exit(bool(wrong))


def _show(located: Located, page: str | None) -> None:
    Console().print(located)
    if page is not None:
        located.page(page)


def _layers(job: Job, backend: interface.Backend, dtype: str) -> Located:
    """Return what `porting.locate` finds in a job, the reference being right."""
    models = []
    for one in (BACKEND, backend):
        model = one.model(build(one.api, job.target), *job.inputs, dtype=dtype)
        model.load_parameters(job.parameters)
        models.append(model)
    return find(*models, *job.inputs)
