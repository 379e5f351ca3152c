"""The report as files: a page, the numbers and the pictures."""

import json
import math

from d2l_ext.agreement.reporting.data import data
from d2l_ext.agreement.reporting.html import page
from d2l_ext.agreement.reporting.pictures import draw
from d2l_ext.files import replacing


def write(report, folder):
    """Write a `Report` into a folder; return the files' names."""
    text = json.dumps(_finite(data(report)), indent=1, ensure_ascii=False, allow_nan=False)
    pictures = draw(report, folder)
    contents = {"report.html": page(report, folder, pictures), "report.json": text + "\n"}
    for name, content in contents.items():
        with replacing(folder / name) as file:
            file.write(content.encode())
    return [*contents, *(picture.name for picture in pictures)]


def _finite(value):
    """Replace what JSON has no number for."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
