"""All mutations of a column, not a sample of them: which does the catalogue report?

``python tests/mutants.py lines COLUMN`` finds out which cases walk which line, by coverage.py.
``python tests/mutants.py run COLUMN [SECONDS]`` then changes one thing after the other, in an order
that is drawn once, so that what is done is a fair sample, and runs the cases that walk the changed
line, the quickest first, until one reports. It goes on where an earlier run ended; several may run
at the same time. ``python tests/mutants.py report COLUMN`` counts, and lists what no case reports;
``again COLUMN`` runs that again, after a new case or rule and ``lines``; ``tests COLUMN`` asks the
column's other tests. What changes nothing stands in ``equivalent.json``.

Everything is kept in the folder that D2L_EXT_MUTANTS names (``mutants`` by default), in files that
a run adds to.
"""

import ast
import contextlib
import fcntl
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from d2l_ext.environment import QUICK

os.environ.update(QUICK | dict(os.environ))

import coverage
from equivalent import explained
from mutation import FILES, NEWER, Mutation, _alternatives, _Mutator, parsed
from planted import failure, planted
from rich.progress import track
from shared import CATALOGUE, failures

import d2l_ext
from d2l_ext import files
from d2l_ext.agreement.judging.budget import DTYPES

PACKAGE = Path(d2l_ext.__file__).parent
EVERY = (*FILES, *NEWER, "backend")
OWN = {"torch": ("decoding",), "mxnet": ("graph",)}  # files that one column alone has
LIMIT = 300  # seconds that a mutation may take: a loop may have lost its end
LEFT = ("", "NOT WALKED", "ended the process")
TESTED = "test: "
SYMMETRIC = ("maximum", "minimum", "logical_and", "max", "min", "positive")  # or names a message
# TensorFlow compiles in float64, which takes most of the time; in float32 it runs what is written.
# MXNet's code alone depends on the precision.
WALKED = dict.fromkeys(d2l_ext.COLUMNS, ("float64",))
WALKED |= {"tensorflow": ("float32",), "mxnet": ("float64", "float32")}


def folder():
    """Return where results are kept."""
    path = Path(os.environ.get("D2L_EXT_MUTANTS", "mutants"))
    path.mkdir(exist_ok=True)
    return path


class Mutant(Mutation):
    """A change of those that `alternatives` lists."""

    def applied(self):
        """Return the file's text with the change."""
        return ast.unparse(_Mutator(self.place, alternatives).visit(parsed(self.column, self.file)))


def alternatives(node):
    """Yield what may stand instead of a node: what `mutation` has, and more.

    Constants one smaller, the last axis but one; arguments swapped or left out; calls in the other
    order; the other branch; a statement left out.
    """
    yield from _alternatives(node)
    match node:
        case ast.UnaryOp(ast.USub(), ast.Constant(int(value))):
            yield ast.UnaryOp(ast.USub(), ast.Constant(value + 1))
        case ast.Constant(bool()):
            pass
        case ast.Constant(int(value)) if value:
            yield ast.Constant(value - 1)
        case ast.Call(function, [ast.Call(inner, [argument], []) as call], []) if not isinstance(
            argument, ast.Starred
        ):
            if ast.unparse(inner) != ast.unparse(function):
                yield ast.Call(inner, [ast.Call(function, call.args, [])], [])
        case ast.Call(function, arguments, keywords):
            yield from _with_other_arguments(function, arguments, keywords)
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Expr(ast.Call(function)) if (
            ast.unparse(function).rpartition(".")[2].startswith("check")
        ):
            pass
        case ast.AugAssign() | ast.Expr(ast.Call()) | ast.Assign([ast.Attribute()]):
            yield ast.Pass()


def _with_other_arguments(function, arguments, keywords):
    symmetric = ast.unparse(function).endswith(SYMMETRIC)
    if len(arguments) > 1 and ast.dump(arguments[0]) != ast.dump(arguments[1]) and not symmetric:
        yield ast.Call(function, [arguments[1], arguments[0], *arguments[2:]], keywords)
    for number, keyword in enumerate(keywords):
        if keyword.arg is not None:
            yield ast.Call(function, arguments, keywords[:number] + keywords[number + 1 :])


class _Plain(ast.NodeTransformer):
    """Takes out what no result on a CPU depends on."""

    def visit_Call(self, node):
        self.generic_visit(node)
        node.keywords = [k for k in node.keywords if k.arg not in ("strict", "device")]
        if ast.unparse(node.func).endswith(("transpose", "swapaxes")) and len(node.args) == 2:
            node.args = sorted(node.args, key=ast.dump)
        return node

    def visit_Expr(self, node):
        checks = ast.unparse(node).startswith("checks.")
        return ast.Pass() if checks else self.generic_visit(node)


def harmless(mutant):
    """Whether only a check is gone, a device, or two axes that change places are named in turn."""
    after = ast.parse(mutant.applied())
    return _plain(mutant.column, mutant.file) == ast.dump(_Plain().visit(after))


@functools.cache
def _plain(column, file):
    return ast.dump(_Plain().visit(parsed(column, file)))


def mutants(column):
    """Return ``[(Mutant, (first line, last line))]`` of a column, in an order drawn once."""
    found = []
    for file in (*EVERY, *OWN.get(column, ())):
        mutator, seen = _Mutator(None, alternatives), {}
        mutator.visit(parsed(column, file))
        for place, what in enumerate(mutator.found):
            seen[what] = seen.get(what, 0) + 1
            again = f" #{seen[what]}" if seen[what] > 1 else ""
            found.append((Mutant(column, file, place, what + again), mutator.lines[place]))
    random.Random(0).shuffle(found)
    return found


def lines(column):
    """Keep which cases walk which line, and how long each takes."""
    with tempfile.TemporaryDirectory() as place:
        measured = coverage.Coverage(
            data_file=f"{place}/data", source=[str(PACKAGE / column)], config_file=False
        )
        measured.start()
        backend, seconds, dtypes = d2l_ext.backend(column), {}, WALKED[column]
        for name in track(CATALOGUE, column, disable=not sys.stderr.isatty()):
            failures(name, backend, dtypes)  # the reference is done, too
            backend.forget()
            measured.switch_context(name)
            start = time.perf_counter()
            failures(name, backend, dtypes)
            seconds[name] = time.perf_counter() - start
            measured.switch_context("")
        measured.stop()
        data, walked = measured.get_data(), {}
        for path in data.measured_files():
            by_line = data.contexts_by_lineno(path)
            walked[Path(path).stem] = {n: sorted({*names} - {""}) for n, names in by_line.items()}
    (folder() / f"lines-{column}.json").write_text(json.dumps([seconds, walked]))


def _walking(walked, seconds, mutant, span):
    """Return the cases that walk a mutant's lines, the quickest first.

    What is read when a file is loaded, a table say, may matter to whatever walks the file.
    """
    by_line = walked.get(mutant.file, {})
    inside = [by_line.get(str(n), []) for n in range(span[0], span[1] + 1)]
    cases = {name for names in inside for name in names}
    if not cases and any(str(n) in by_line for n in range(span[0], span[1] + 1)):
        cases = {name for names in by_line.values() for name in names}
    return sorted(cases, key=seconds.__getitem__)


@contextlib.contextmanager
def _limit():
    def stop(number, frame):
        raise TimeoutError(f"took more than {LIMIT} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(mutant, cases):
    """Return what the first case that notices says, or None; of both precisions the quick first."""
    first = WALKED[mutant.column][0]
    dtypes = sorted(DTYPES, key=lambda dtype: dtype != first)
    try:
        with _limit(), planted(mutant.column, mutant.file, mutant.applied()) as backend:
            found = (failure(name, backend, dtype) for dtype in dtypes for name in cases)
            told = next(filter(None, found), None)
            backend.forget()
            return told
    except Exception as error:  # the column can't even be loaded, or a loop has no end
        return f"{type(error).__name__}: {error}"


def done(column):
    """Return ``{id: what was reported, "" if nothing}``; of a run that was ended, that it was."""
    path, found = folder() / f"{column}.jsonl", {}
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):  # a line that was not finished
            entry = json.loads(line)
            found[entry["id"]] = entry.get("told", "ended the process")
    return found


def run(column, limit):
    """Run what is not done, for so many seconds."""
    seconds, walked = json.loads((folder() / f"lines-{column}.json").read_text())
    end, every = time.monotonic() + limit, mutants(column)
    with open(folder() / f"{column}.jsonl", "a") as file:

        def write(**entry):
            file.write(json.dumps(entry) + "\n")
            file.flush()

        for mutant, span in every:
            if time.monotonic() > end:
                break
            if harmless(mutant):
                continue
            fcntl.flock(file, fcntl.LOCK_EX)  # another run may choose as well
            known = mutant.id in done(column)
            if not known:
                write(id=mutant.id)
            fcntl.flock(file, fcntl.LOCK_UN)
            if not known:
                cases = _walking(walked, seconds, mutant, span)
                told = outcome(mutant, cases) if cases else "NOT WALKED"
                write(id=mutant.id, told=told or "", cases=len(cases))
    report(column)


def again(column):
    """Forget what no case has reported and nothing explains, so that it runs again."""
    kept = {
        name: told
        for name, told in done(column).items()
        if name in explained(column) or not (told in LEFT or told.startswith(TESTED))
    }
    text = "".join(json.dumps({"id": name, "told": told}) + "\n" for name, told in kept.items())
    with files.replacing(folder() / f"{column}.jsonl") as file:
        file.write(text.encode())
    run(column, 1e9)


def tests(column):
    """Run the column's own tests on what no case has reported and nothing explains."""
    known = done(column)
    for mutant, _ in mutants(column):
        if known.get(mutant.id) in LEFT and mutant.id not in explained(column):
            told = _told_by_tests(mutant)
            with open(folder() / f"{column}.jsonl", "a") as file:
                file.write(json.dumps({"id": mutant.id, "told": told}) + "\n")
    report(column)


def _told_by_tests(mutant):
    """Return the name of the first test that fails with a mutant, after TESTED, or ""."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "mutant.py"
        path.write_text(mutant.applied())
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "planting"),
                *("-k", mutant.column, "tests/columns", "tests/training/test_decoding.py"),
            ],
            env=os.environ | {"D2L_EXT_PLANTED": f"{mutant.column} {mutant.file} {path}"},
            capture_output=True,
            text=True,
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return f"{TESTED}{failed[0] if failed else done.stdout[-200:]}" if done.returncode else ""


def report(column):
    """Count what is done, and list what no case has reported and nothing explains."""
    found, every = done(column), [m for m, _ in mutants(column) if not harmless(m)]
    found = {m.id: found[m.id] for m in every if m.id in found}
    same = [name for name, told in found.items() if told in LEFT and name in explained(column)]
    alive = [name for name, told in found.items() if told in LEFT and name not in same]
    tested = [name for name, told in found.items() if told.startswith(TESTED)]
    for name in tested:
        print(f"{found[name]}: {name}")
    for name in alive:
        print("ALIVE", found[name], name)
    changing = len(found) - len(same)
    told = changing - len(alive) - len(tested)
    print(
        f"{column}: {len(found)} of {len(every)} done; {len(same)} change nothing; of the other"
        f" {changing} cases report {told} ({told / max(changing, 1):.1%}), only tests"
        f" {len(tested)}, {len(alive)} are alive"
    )


def main(what, column, limit="1e9"):
    """Do what is asked for."""
    if what == "lines":
        lines(column)
    elif what == "run":
        run(column, float(limit))
    elif what == "again":
        again(column)
    elif what == "tests":
        tests(column)
    else:
        report(column)


if __name__ == "__main__":
    main(*sys.argv[1:])
