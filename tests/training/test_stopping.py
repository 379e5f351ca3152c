"""Runs that are asked to stop, run beside each other, go wrong, cannot be, or are lengthened."""

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from runs import SMALL, quiet

from d2l_ext import files
from d2l_ext.cli import main
from d2l_ext.training import checkpoint, run, stopping
from d2l_ext.training.settings import read_settings

STEPS = 3


def start(folder, **options):
    return run.start(folder, read_settings(**{**SMALL, **options}), report=quiet)


def same_parameters(one, other):
    for name in (run.LAST, run.BEST):
        a, b = (checkpoint.load(folder / name).parameters for folder in (one, other))
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[key], b[key]) for key in a), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nobody stops."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("runs") / "whole"
    start(folder)
    return folder


@pytest.fixture
def signals(monkeypatch):
    """A function that lets signals come while the log of a step is written."""

    def at(moments):
        write = run.Log.write

        def interrupted(log, event, **values):
            write(log, event, **values)
            if event == "step":
                for number in moments.get(values["step"], ()):
                    os.kill(os.getpid(), number)

        monkeypatch.setattr(run.Log, "write", interrupted)

    return at


@pytest.mark.parametrize("number", stopping.SIGNALS)
@pytest.mark.parametrize("step", range(1, 2 * STEPS))
def test_a_signal_ends_the_step_and_nothing_is_lost(whole, tmp_path, signals, step, number):
    folder = tmp_path / "stopped"
    signals({step: [number]})
    handlers = [signal.getsignal(n) for n in stopping.SIGNALS]
    with pytest.raises(stopping.Stopped) as stopped:
        start(folder)
    assert (stopped.value.step, stopped.value.signal) == (step, number)
    assert checkpoint.load(folder / run.LAST).training["num_steps"] == step
    assert [signal.getsignal(n) for n in stopping.SIGNALS] == handlers
    signals({})
    run.resume(folder, report=quiet)
    same_parameters(whole, folder)


def test_a_signal_in_the_last_step_comes_too_late(whole, tmp_path, signals):
    signals({2 * STEPS: [signal.SIGINT]})
    start(tmp_path / "run")
    same_parameters(whole, tmp_path / "run")


def test_a_second_signal_stops_at_once(whole, tmp_path, signals):
    signals({2: [signal.SIGINT, signal.SIGINT]})
    with pytest.raises(KeyboardInterrupt) as stopped:
        start(tmp_path / "run")
    assert not isinstance(stopped.value, stopping.Stopped)
    assert not (tmp_path / "run" / run.LAST).exists()


def command(folder, *arguments):
    options = [f"--{k.replace('_', '-')}={v}" for k, v in SMALL.items() if k != "buckets"]
    return [sys.executable, "-m", "d2l_ext", "train", "--out", folder, *options, *arguments]


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_from_outside(whole, tmp_path, number):
    """A process gets a signal, says at which step it stopped, and is resumed."""
    folder = tmp_path / "run"
    arguments = ("--buckets=16", "--epochs=5000")
    process = subprocess.Popen(
        command(folder, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        end = time.monotonic() + 120
        while time.monotonic() < end and len(run.read_log(folder / run.LOG)) < 8:
            time.sleep(0.05)
        with pytest.raises(ValueError, match="is in use by another process"):
            run.resume(folder, report=quiet)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    step = checkpoint.load(folder / run.LAST).training["num_steps"]
    assert f"stopped at step {step}; go on with:  d2l-ext train --resume {folder}" in output
    assert "Traceback" not in output


def test_a_finished_run_is_lengthened(whole, tmp_path):
    folder = tmp_path / "run"
    start(folder, epochs=1)
    result = CliRunner().invoke(main, ["train", "--resume", str(folder), "--epochs", "2"])
    assert result.exit_code == 0, result.output
    same_parameters(whole, folder)
    assert read_settings(folder / run.CONFIG).epochs == 2
    with pytest.raises(ValueError, match="epochs: got 1, must be at least the 2 that are done"):
        run.resume(folder, report=quiet, epochs=1)


def test_a_run_stopped_early_is_lengthened(tmp_path):
    pytest.importorskip("torch")
    folder = tmp_path / "run"
    start(folder, epochs=9, patience=1, lr=1e-9)
    done = len([e for e in run.read_log(folder / run.LOG) if e["event"] == "epoch"])
    assert done < 9
    run.resume(folder, report=quiet, epochs=done + 1)
    assert checkpoint.load(folder / run.LAST).training["num_steps"] == STEPS * (done + 1)


@pytest.mark.parametrize("lr", [1e30, 1e3])
def test_a_loss_that_explodes_ends_the_run_with_the_last_good_checkpoint(whole, tmp_path, lr):
    folder = tmp_path / "run"
    start(folder, epochs=1)
    before = (folder / run.LAST).read_bytes()
    config = folder / run.CONFIG
    config.write_text(config.read_text().replace("lr = 0.002", f"lr = {lr}"))
    config.write_text(config.read_text().replace("max_norm = 1.0", "max_norm = 0.0"))
    result = CliRunner().invoke(main, ["train", "--resume", str(folder), "--epochs", "400"])
    assert result.exit_code == 1, result.output
    assert "loss" in result.stderr and f"the last good checkpoint is {folder}" in result.stderr
    last = checkpoint.load(folder / run.LAST)
    assert all(np.isfinite(x).all() for x in last.parameters.values())
    if lr == 1e30:  # before the end of an epoch
        assert (folder / run.LAST).read_bytes() == before


@pytest.mark.parametrize("model", ["bahdanau", "transformer", "gpt", "bert", "vit"])
@pytest.mark.parametrize("options", [["--num-hiddens", "1000000000"], ["--num-layers", "10000000"]])
def test_sizes_that_cannot_be_are_one_line(tmp_path, model, options):
    if model == "vit":
        pytest.importorskip("sklearn")
    arguments = ["train", "--model", model, "--out", str(tmp_path / "run"), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: sizes: a model of num_hiddens=") and "GiB of memory" in line
    assert not (tmp_path / "run").exists()


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    message = r"No space left on device: .*best\.safetensors"
    path = tmp_path / "best.safetensors"
    with pytest.raises(OSError, match=message), files.replacing(path) as file:
        file.write(b"something")
    assert not list(tmp_path.iterdir())
