"""The report as one page that needs nothing else: no script, no network, pictures inside."""

import base64

import jinja2

from d2l_ext.agreement.reporting import tables

SENTENCES = 12  # whose translations are shown

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("d2l_ext.agreement.reporting", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def page(report, folder, pictures):
    """Return the page as text.

    Args:
        report: a `report.Report`.
        folder: where the pictures are.
        pictures: a list of `pictures.PictureFile`.
    """
    return TEMPLATES.get_template("page.html.jinja").render(
        report=report,
        tables=tables,
        sentences=SENTENCES,
        pictures=[(_inline(folder / picture.name), picture.description) for picture in pictures],
    )


def _inline(path):
    """Return a picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
