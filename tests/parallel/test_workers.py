"""Runs of several processes from one command: killed, asked to stop, and gone on with."""

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from command import invoke
from runs import SMALL, quiet

import d2l_ext
from d2l_ext.parallel import hosts, launch
from d2l_ext.training import checkpoint, run
from d2l_ext.training.settings import read_settings

SETTINGS = SMALL | {"dtype": "float64", "save_every": 1, "bleu_sentences": 1}


def start(folder, workers, **options):
    settings = read_settings(**{**SETTINGS, **options})
    launch.train(launch.plan(workers, [], None), folder, settings, report=quiet)


def resume(folder, workers, epochs=None):
    found = launch.plan(workers, [], None)
    launch.train(found, folder, None, epochs, resume=True, report=quiet)


def steps(folder):
    return len(run.read_log(folder / run.LOG))


def in_background(folder, rank, number, at_step):
    """Send a signal to a worker of a run in this process, when its log has so many steps."""

    def watch():
        while steps(folder) < at_step or len(pids()) <= rank:
            time.sleep(0.02)
        os.kill(pids()[rank], number)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def pids():
    """Return the workers' processes by rank: children of this one, in the order of their start."""
    children = f"/proc/{os.getpid()}/task"
    found = []
    for task in os.listdir(children):
        with open(f"{children}/{task}/children") as file:
            found += map(int, file.read().split())
    workers = [pid for pid in found if b"parallel.worker" in _command(pid)]
    return sorted(workers)


def _command(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def parameters(folder):
    return checkpoint.load(folder / run.LAST).parameters


def worst(one, other):
    return max(np.abs(one[k] - other[k]).max() / np.abs(one[k]).max() for k in one)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of a run in one process."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("runs") / "alone"
    run.start(folder, read_settings(**SETTINGS), report=quiet)
    return folder


def test_a_killed_worker_is_named_and_one_process_goes_on(alone, tmp_path):
    folder = tmp_path / "run"
    in_background(folder, 1, signal.SIGKILL, at_step=2)
    with pytest.raises(
        launch.WorkerDied, match=r"^worker 1 of 2 \(process \d+\) was ended by SIGK"
    ):
        start(folder, 2, epochs=5000)
    assert checkpoint.load(folder / run.LAST).training["num_steps"] >= 2
    assert "3,234 parameters" in (folder / "worker-1.log").read_text()
    assert not pids()
    # What it would have come to, in one process.
    done = checkpoint.load(folder / run.LAST).info["progress"]["epoch"]
    run.resume(folder, report=quiet, epochs=max(done, 2))
    run.resume(alone, report=quiet, epochs=max(done, 2))
    assert worst(parameters(alone), parameters(folder)) < 1e-6


def test_what_the_leader_cannot_do_is_what_one_process_says(tmp_path):
    with pytest.raises(ValueError, match="3 sentence pairs are too few for a validation part"):
        start(tmp_path / "run", 2, max_pairs=3, val_fraction=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "0 is not in the range"),
        (["--port", "300"], "--port goes with --hosts"),
        (["--workers", "2", "--device", "cpu"], "--device goes with one process"),
        (["--hosts", "10.0.0.1,,"], "is no list like 10.0.0.1,10.0.0.2"),
        (["--hosts", "192.0.2.1"], "hosts: got 192.0.2.1, must have an address of this machine"),
        (["--resume", "here", "--workers", "2"], "here: has no run to resume"),
        (["--resume", "here", "--lr", "1"], "only --epochs, --workers, --hosts and --port"),
    ],
)
def test_options_that_cannot_be(arguments, message):
    assert message in invoke("train", *arguments, status=2).output


MANY = {"epochs": 3, "batch_size": 2}  # 105 steps, of which each is saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A function that returns the parameters of a framework's run that nobody disturbs."""

    @functools.cache
    def of(name):
        folder = tmp_path_factory.mktemp("runs") / name
        start(folder, 2, backend=name, **MANY)
        return parameters(folder)

    return of


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("at_step", range(0, 100, 10))
def test_killed_at_any_moment_nothing_is_lost(backend, whole, tmp_path, rank, at_step):
    folder, settings = tmp_path / "run", {"backend": backend.name, **MANY}
    in_background(folder, rank, signal.SIGKILL, at_step)
    name = f"worker {rank} of 2{', the leader,' if rank == 0 else ''} "
    with pytest.raises(launch.WorkerDied, match=rf"^{name}\(process \d+\) was ended by SIGKILL"):
        start(folder, 2, **settings)
    if (folder / run.CONFIG).exists():
        resume(folder, 2)
    else:  # killed before there was anything
        start(folder, 2, **settings)
    for key, value in whole(backend.name).items():
        np.testing.assert_array_equal(parameters(folder)[key], value)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_from_outside(tmp_path, number):
    folder = tmp_path / "run"
    options = [f"--{k.replace('_', '-')}={v}" for k, v in SETTINGS.items() if k != "buckets"]
    command = [sys.executable, "-m", "d2l_ext", "train", "--out", folder, *options]
    process = subprocess.Popen(
        [*command, "--buckets=16", "--epochs=5000", "--workers=2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        while steps(folder) < 8 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    step = checkpoint.load(folder / run.LAST).training["num_steps"]
    assert f"stopped at step {step}; go on with:  d2l-ext train --resume {folder}" in output
    assert "Traceback" not in output


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """A function that returns what a framework does in one process, without a group."""

    @functools.cache
    def of(name):
        return trained(name, 0, tmp_path_factory.mktemp("one"))

    return of


def trained(name, size, folder, **environment):
    """Train in a group of so many processes, or without one; return what the leader has seen."""
    ports = ",".join(map(str, hosts.free_ports("127.0.0.1", size)))
    command = [sys.executable, str(Path(__file__).parents[1] / "member.py"), name]
    processes = [
        subprocess.Popen(
            [*command, str(rank), ports, folder / "found.npz"], env=os.environ | environment
        )
        for rank in range(max(size, 1))
    ]
    assert [process.wait(timeout=550) for process in processes] == [0] * len(processes)
    return np.load(folder / "found.npz")


def check_the_same(one, several):
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-3)):
        losses = [x[f"{dtype}/losses/"] for x in (one, several)]
        assert np.abs(losses[1] / losses[0] - 1).max() < tolerance
        np.testing.assert_array_equal(*(x[f"{dtype}/tokens/"] for x in (one, several)))


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_engines_do_what_one_process_does(backend, one_process, tmp_path, size):
    check_the_same(one_process(backend.name), trained(backend.name, size, tmp_path))


@pytest.mark.slow
def test_jax_shares_with_several_devices_of_a_process(one_process, tmp_path):
    pytest.importorskip("jax")
    flags = os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    several = trained("jax", 1, tmp_path, XLA_FLAGS=flags)
    check_the_same(one_process("jax"), several)
    losses = (x["float64/losses/"] for x in (one_process("jax"), several))
    assert any(a != b for a, b in zip(*losses, strict=True))  # or it was one device


@pytest.mark.slow
def test_the_frameworks_do_the_same_with_two_workers(tmp_path):
    pytest.importorskip("torch")
    names = d2l_ext.installed()
    found = [trained(name, 2, tmp_path_of(tmp_path, name)) for name in names]
    for other in found[1:]:
        check_the_same(found[0], other)
        for key in (key for key in other if key.startswith("float64/gradients")):
            scale = max(np.abs(found[0][k]).max() for k in other if k.startswith("float64/grad"))
            assert np.abs(other[key] - found[0][key]).max() < 1e-13 * scale, key


def tmp_path_of(folder, name):
    (folder / name).mkdir()
    return folder / name


def test_every_column_has_an_engine(any_backend):
    assert any_backend._parallel.GROUP.__name__.endswith("Group")
    assert issubclass(any_backend._parallel.SHARED_TRAINER, type(any_backend)._trainer)
