"""The cases of a comparison, done by the processes of a Dask cluster, on one machine or on many.

A user makes the cluster with two commands, ``dask scheduler`` and, on each machine, ``dask worker
ADDRESS``. Dask is all Python, asks nothing of the machines but that they reach one another, and
gives what a lost machine had to do to another one. (Ray is a large program that has to be built
for each Python, and pytest-xdist spreads tests and nothing else.)
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.named import named
from d2l_ext.agreement.judging.solved import SolvedCase
from d2l_ext.agreement.judging.unfinished import Unfinished
from d2l_ext.agreement.judging.verdict import Verdict, judge
from d2l_ext.agreement.running.costs import seconds
from d2l_ext.agreement.running.remote import Worker, WorkerError
from d2l_ext.environment import QUICK

AT_ONCE = 20  # cases of a task, for which a framework is loaded once
SECONDS = 30  # to reach the cluster

Found = tuple[str, list[Verdict]]  # name of the case, verdicts


class ClusterError(Exception):
    """The cluster cannot be reached, or is not fit to compare."""


def spread(
    address: str,
    backends: Sequence[str],
    cases: Sequence[Case],
    dtypes: Sequence[str],
    seed: int,
    limit: float,
    unfinished: Unfinished,
    alike: Callable[[], Any],
    progress: Callable[[str, str, float, float], object],
) -> None:
    """Do the cases that are not done yet; what is found is in ``unfinished``.

    A case that a framework could not do is left out: the comparison does it once more, and says
    why.

    Args:
        address: of the scheduler, like ``tcp://10.0.0.1:8786``.
        backends, cases, dtypes, seed, limit, progress: as in `comparison.Comparison`.
        unfinished: what is known.
        alike: what must be equal in every process, here too: code, versions.

    Raises:
        ClusterError: nothing answers at that address, it has no processes, or they are not alike.
    """
    with _client(address) as client:
        _check(client, alike)
        shares = {b: list(_shares(b, cases, dtypes, unfinished)) for b in backends}
        totals = {b: sum(len(names) for _, names in shares[b]) for b in backends}
        done = dict.fromkeys(backends, 0)
        for backend, dtype, names, found in _answers(client, shares, seed, limit):
            for name, verdicts in found:
                unfinished.add(backend, dtype, name, verdicts)
            done[backend] += len(names)
            share = (seconds(backend, number) for number in (done[backend], totals[backend]))
            progress(backend, "cases, on the cluster", *share)


def _shares(
    backend: str, cases: Sequence[Case], dtypes: Sequence[str], unfinished: Unfinished
) -> Iterator[tuple[str, list[str]]]:
    """Yield a precision and the names of some cases, until all are named that are not done."""
    for dtype in dtypes:
        names = [c.name for c in cases if unfinished.get(backend, dtype, c.name) is None]
        for first in range(0, len(names), AT_ONCE):
            yield dtype, names[first : first + AT_ONCE]


def _answers(client, shares, seed, limit) -> Iterator[tuple[str, str, list[str], list[Found]]]:
    """Yield a backend, a precision, names of cases and what was found, as they come."""
    from distributed import as_completed

    asked = {}
    for backend, of_backend in shares.items():
        for dtype, names in of_backend:
            share = backend, dtype, names
            asked[client.submit(verdicts, *share, seed, limit, pure=False)] = share
    for future, found in as_completed(asked, with_results=True):
        yield *asked[future], found


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise ClusterError("Dask is missing: pip install 'd2l-ext[cluster]'") from None
    try:
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no scheduler answers at {address!r}: {error}") from error
    with client, client.as_current():
        yield client


def _check(client: Any, alike: Callable[[], Any]) -> None:
    """Make sure that there are processes, and that they have what is here."""
    here, there = alike(), client.run(alike)
    if not there:
        raise ClusterError("the cluster has no workers; `dask worker ADDRESS` starts some")
    for address, found in there.items():
        if other := {k: (here[k], found.get(k)) for k in here if found.get(k) != here[k]}:
            lines = ", ".join(
                f"{k}: {mine!r} here, {its!r} there" for k, (mine, its) in other.items()
            )
            raise ClusterError(f"the worker {address} is not like this process ({lines})")


def verdicts(
    backend: str, dtype: str, names: Sequence[str], seed: int, limit: float
) -> list[Found]:
    """Do some cases in a process of the framework's own; leave out those that it could not do."""
    found = []
    with Worker(backend, None, limit, QUICK) as worker:
        for name in names:
            (case,) = named(name)
            solved = SolvedCase(case, seed)
            try:
                results = worker.ask("perform", vars(solved.job), dtype)
            except WorkerError as error:
                if error.dead:
                    break
                continue
            found.append((name, judge(solved, backend, dtype, results)))
    return found
