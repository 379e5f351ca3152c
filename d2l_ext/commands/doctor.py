"""``d2l-ext doctor``."""

import sys

import click

from d2l_ext.doctor import examine


@click.command()
def doctor():
    """Check which frameworks work here, and say how to mend what does not."""
    healthy = True
    for finding in examine():
        healthy &= finding.ok
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.text}")
        if finding.mend:
            click.echo(f"      {finding.mend}")
    sys.exit(0 if healthy else 1)
