"""Branches of a column that no case of the catalogue walks.

``python tests/branches.py COLUMN [PREFIX ...]`` runs the cases, or those whose names begin so, in
both precisions under coverage.py, and prints how many of the column's branches were taken, which
were not and why not, as `left` has it, and which of those that `left` explains were taken after
all. It fails if something is not explained, or explained and taken.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from d2l_ext.environment import QUICK

os.environ.update(QUICK | dict(os.environ))

import coverage
from left import FILES, LEFT
from rich.progress import track

PACKAGE = Path(__file__).parents[1] / "d2l_ext"


def walked(column, prefixes):
    """Run cases on a column; return coverage.py's report."""
    measured = coverage.Coverage(
        branch=True,
        source=[str(PACKAGE / column)],
        omit=[f"*/{file}.py" for file in FILES],
        data_file=None,
    )
    measured.start()
    from shared import CATALOGUE, failures

    import d2l_ext  # after the start, so that what is done while it loads counts

    backend = d2l_ext.backend(column)
    names = [n for n in CATALOGUE if n.startswith(tuple(prefixes) or "")]
    for name in track(names, description=column, disable=not sys.stderr.isatty()):
        for failure in failures(name, backend):
            print(failure, flush=True)
        backend.forget()
    measured.stop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        measured.json_report(outfile=str(path))
        return json.loads(path.read_text())


def named(path, a, b):
    """Name a branch by the lines that it joins, which stay when those above them change."""
    lines = path.read_text().splitlines()
    there = lines[b - 1].strip() if b > 0 else "the end"
    return f"{path.stem}: {lines[a - 1].strip()} -> {there}"


def missed(report):
    """Return the names of the branches that were not taken."""
    return {
        named(Path(path), a, b)
        for path, file in report["files"].items()
        for a, b in file["missing_branches"]
    }


def main(column, *prefixes):
    """Print what was not walked, and why."""
    report = walked(column, prefixes)
    found, left = missed(report), LEFT.get(column, {})
    for name in sorted(found):
        print(f"{left.get(name, 'NOT EXPLAINED')}: {name}")
    taken = sorted(left.keys() - found)
    for name in taken:
        print(f"EXPLAINED BUT TAKEN: {name}")
    totals = report["totals"]
    print(
        f"{column}: {totals['covered_branches']} of {totals['num_branches']} branches,"
        f" {totals['covered_lines']} of {totals['num_statements']} lines;"
        f" {len(found & left.keys())} explained, {len(found - left.keys())} not"
    )
    return 1 if found - left.keys() or taken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
