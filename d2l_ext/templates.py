"""How pages are made of Jinja2's templates, the same way everywhere."""

import jinja2


def templates(package: str) -> jinja2.Environment:
    """Return what renders the templates in a package's folder; a name that is missing fails."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
