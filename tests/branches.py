"""Branches of a column that no case of the catalogue walks.

``python tests/branches.py COLUMN [PREFIX ...]`` runs the cases, or those whose names begin so, in
both precisions under coverage.py, and prints how many of the column's branches were taken, and for
each file the lines and the jumps that were not.
"""

import json
import sys
import tempfile
from pathlib import Path

import coverage
from rich.progress import track

PACKAGE = Path(__file__).parents[1] / "d2l_ext"


def walked(column, prefixes):
    """Run cases on a column; return coverage.py's report."""
    measured = coverage.Coverage(branch=True, source=[str(PACKAGE / column)], data_file=None)
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


def main(column, *prefixes):
    """Print what was not walked."""
    report = walked(column, prefixes)
    for path, file in sorted(report["files"].items()):
        jumps = [f"{a}->{b if b > 0 else 'end'}" for a, b in file["missing_branches"]]
        if jumps or file["missing_lines"]:
            print(f"{Path(path).name}: lines {file['missing_lines']}, jumps {', '.join(jumps)}")
    totals = report["totals"]
    print(
        f"{column}: {totals['covered_branches']} of {totals['num_branches']} branches,"
        f" {totals['covered_lines']} of {totals['num_statements']} lines"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
