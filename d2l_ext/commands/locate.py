"""``d2l-ext locate``."""

import sys

import click

from d2l_ext import interface, reference
from d2l_ext.agreement.cases.named import named
from d2l_ext.commands.errors import UserError
from d2l_ext.commands.options import machine_options, opened
from d2l_ext.config import build
from d2l_ext.porting import locate as find
from d2l_ext.reference.backend import BACKEND


@click.command()
@click.argument("case")
@click.option(
    "--backend", type=click.Choice(interface.COLUMNS), required=True, help="Framework to look into."
)
@click.option("--seed", default=0, show_default=True, help="Of the case's numbers.")
@click.option(
    "--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True
)
@machine_options
def locate(case: str, backend: str, seed: int, dtype: str) -> None:
    """Find the layer in which a framework leaves the NumPy reference, in a case of compare.

    The module of CASE runs in both, with the same parameters and inputs, without dropout. The exit
    status is 0 only if no layer differs.
    """
    try:
        cases = named(case)
    except ValueError as error:
        raise UserError(f"CASE: {error}") from None
    if len(cases) > 1:
        raise UserError(f"CASE: got {case!r}, must be one of {', '.join(c.name for c in cases)}")
    job = cases[0].job(seed)
    if job.is_function:
        raise UserError(f"{case}: is a function, which has no layers to look into")
    models = []
    for chosen, api in ((BACKEND, reference), (opened(backend), interface.backend(backend).api)):
        model = chosen.model(build(api, job.target), *job.inputs, dtype=dtype)
        model.load_parameters(job.parameters)
        models.append(model)
    found = find(*models, *job.inputs)
    click.echo(str(found))
    sys.exit(0 if found.agrees else 1)
