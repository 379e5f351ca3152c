"""A pytest plugin: a file of a column is another one.

``D2L_EXT_PLANTED="COLUMN FILE PATH" python -m pytest -p planting ...``
"""

import os
import sys
from pathlib import Path

from planted import PACKAGE, _Finder, _take_out

COLUMN, FILE, PATH = os.environ["D2L_EXT_PLANTED"].split(maxsplit=2)
_take_out(f"d2l_ext.{COLUMN}")
sys.meta_path.insert(
    0,
    _Finder(f"d2l_ext.{COLUMN}.{FILE}", PACKAGE / COLUMN / f"{FILE}.py", Path(PATH).read_text()),
)
