"""`compare --scheduler`: cases that a Dask cluster does are those that are done here."""

import json
import os
import signal

import pytest
from command import invoke

import d2l_ext
from d2l_ext.agreement import comparison, spread
from d2l_ext.agreement.cases.named import named
from d2l_ext.agreement.judging.unfinished import Unfinished

distributed = pytest.importorskip("distributed")
NAME = d2l_ext.installed()[0]
GIVEN = ("compare", "--backends", NAME, "--cases", "scoring/Cos", "--dtype", "float64")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processes."""
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with distributed.LocalCluster(**options) as found:
        yield found


def said(folder):
    """Return what a report says of the cases."""
    report = json.loads((folder / "report.json").read_text())
    return {key: report[key] for key in ("agrees", "problems", "cases", "by_case", "versions")}


def test_the_report_is_the_one_of_this_machine(cluster, tmp_path, monkeypatch):
    invoke(*GIVEN, "--report", tmp_path / "here")
    asked = []
    monkeypatch.setattr(spread, "AT_ONCE", 6)
    monkeypatch.setattr(comparison.Comparison, "_verdicts", lambda *a: asked.append(a) or [])
    where = ("--scheduler", cluster.scheduler_address)
    invoke(*GIVEN, *where, "--report", tmp_path / "there")
    assert asked == []
    assert said(tmp_path / "there")["by_case"]
    assert said(tmp_path / "there") == said(tmp_path / "here")


def run(address, tmp_path, alike=dict, **options):
    """Spread the cosine's cases; return the names of those that are known then."""
    cases = named("scoring/Cos")
    unfinished = Unfinished(tmp_path / "unfinished.jsonl", {})
    given = [NAME], cases, ["float64"], 0, options.get("limit", 300)
    spread.spread(address, *given, unfinished, alike, options.get("progress", lambda *_: None))
    return {c.name for c in cases if unfinished.get(NAME, "float64", c.name)}


@pytest.mark.slow
def test_what_a_lost_worker_had_to_do_is_done_by_another(cluster, tmp_path, monkeypatch):
    """The nanny of a worker that is killed starts a new one."""
    monkeypatch.setattr(spread, "AT_ONCE", 4)
    killed = []

    def kill(*_):
        if not killed:
            with distributed.Client(cluster, set_as_default=False) as client:
                killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    assert run(cluster.scheduler_address, tmp_path, progress=kill) == {
        case.name for case in named("scoring/Cos")
    }
    assert killed


def test_a_case_that_cannot_be_done_is_left_for_this_machine(cluster, tmp_path):
    assert run(cluster.scheduler_address, tmp_path, limit=0.001) == set()


def test_other_versions_are_refused(cluster, tmp_path):
    def alike():
        return {"numpy": os.getpid()}

    with pytest.raises(spread.ClusterError, match=r"numpy: \d+ here, \d+ there"):
        run(cluster.scheduler_address, tmp_path, alike)


def test_clusters_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(spread, "SECONDS", 0.5)
    with pytest.raises(spread.ClusterError, match=r"no scheduler answers at 'tcp://127.0.0.1:9'"):
        run("tcp://127.0.0.1:9", tmp_path)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(spread.ClusterError, match="has no workers"),
    ):
        run(empty.scheduler_address, tmp_path)
