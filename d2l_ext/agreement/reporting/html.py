"""The report as one page that needs nothing else: no script, no network, pictures inside."""

import base64

from d2l_ext.agreement.reporting import tables
from d2l_ext.templates import templates

SENTENCES = 12  # whose translations are shown

TEMPLATES = templates("d2l_ext.agreement.reporting")


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
