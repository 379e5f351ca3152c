"""What frameworks compute on: threads and devices."""

import os
import subprocess
import sys

import command
import pytest
from shared import frameworks

import d2l_ext
from d2l_ext import environment


def run_alone(code, *arguments, **variables):
    """Run code in a process whose frameworks have read nothing yet; return what it prints."""
    thread_limits = environment.threads(1)
    kept = {name: value for name, value in os.environ.items() if name not in thread_limits}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        env=kept | {"TF_CPP_MIN_LOG_LEVEL": "3"} | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


# Products of matrices; then which share of the CPU time is not that of the busiest thread.
WORK = """
import os, pathlib, sys
from click import Command, Context
from d2l_ext.commands import options
import numpy as np

def times():
    found = {}
    for task in pathlib.Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        found[task.name] = int(fields[11]) + int(fields[12])
    return found

def work():
    backend = options.opened(sys.argv[1])
    x = np.random.default_rng(0).normal(size=(1, 900, 900)).astype("float32")
    model = backend.model(backend.api.DotProductAttention(0), x, x, x)
    model(x, x, x)
    before = times()
    for _ in range(25):
        model(x, x, x)
    used = [time - before.get(name, 0) for name, time in times().items()]
    print(1 - max(used) / sum(used))

command = options.machine_options(Command("work", callback=work))
command.main(["--threads", sys.argv[2]], standalone_mode=False)
"""


@pytest.mark.parametrize("backend", frameworks("mxnet", "jax", "tensorflow"), indirect=True)
def test_threads_take_effect(backend):
    """One thread does all the work, or two share it; what the machine does besides is no matter."""
    assert float(run_alone(WORK, backend.name, 1)) < 0.2
    if len(os.sched_getaffinity(0)) > 1:
        assert float(run_alone(WORK, backend.name, 2)) > 0.3


def test_threads_come_too_late(backend, tmp_path):
    result = command.invoke("train", "--threads", 2, "--out", tmp_path / "run", status=2)
    assert "--threads: " in result.stderr and "is loaded already" in result.stderr


def test_the_reference_has_no_threads(tmp_path):
    code = "from d2l_ext.cli import main; import sys; main(sys.argv[1:])"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_alone(code, "embed", "model", "text", "--backend", "reference", "--threads", 2)
    assert "--threads goes with a framework" in failed.value.stderr


# Devices


def test_a_device_that_is_not_seen(any_backend):
    assert any_backend.devices[0] == "cpu"
    any_backend.use("cpu")
    for name in ("gpu:99", "tpu", "gpu:", ""):
        with pytest.raises(ValueError, match=rf"device: got '{name}', but .* sees cpu"):
            any_backend.use(name)


def test_from_the_command_line(tmp_path, any_backend):
    name = any_backend.name
    if name == "reference":
        best = tmp_path / "none"
        result = command.invoke(
            "embed", best, "a", "--backend", name, "--device", "gpu:9", status=2
        )
    else:
        folder = ("--out", tmp_path / "run")
        given = ("train", *folder, "--backend", name, "--device", "gpu:9")
        result = command.invoke(*given, status=2)
        assert not (tmp_path / "run").exists()
    assert f"device: got 'gpu:9', but {name}" in result.stderr


# Two devices of the CPU, of which the second is taken for a GPU, so that it shows what computes.
SECOND = {
    "mxnet": """
import mxnet as mx
gpus = [mx.cpu(1)]
where = lambda model: {str(p.data().ctx) for p in model.module.collect_params().values()}
second = {"cpu(1)"}
""",
    "jax": """
import jax
gpus = [jax.devices()[1]]
where = lambda model: {x.device.id for x in model.params.values()}
second = {1}
""",
    "tensorflow": """
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
gpus = [tf.config.list_logical_devices("CPU")[1]]
where = lambda model: {v.device[-5:] for v in model.variables}
second = {"CPU:1"}
""",
}
PLACED = """
import numpy as np, d2l_ext
backend = d2l_ext.backend({name!r})
{second}
type(backend)._gpus = lambda self: gpus
src, tgt, lens = np.ones((2, 3), int), np.ones((2, 4), int), np.array([3, 2])
found = []
for device in ("cpu", "gpu", "cpu"):
    backend.use(device)
    api = backend.api
    decoder = api.Seq2SeqAttentionDecoder(8, 4, 4, 1)
    module = api.EncoderDecoder(api.Seq2SeqEncoder(9, 4, 4, 1), decoder)
    model = backend.model(module, src, tgt, lens, dtype="float64")
    assert (where(model) == second) == (device == "gpu"), (device, where(model))
    trainer = backend.trainer(model, 0.1)
    loss = trainer.step((src, tgt, lens, tgt))
    assert (where(model) == second) == (device == "gpu"), (device, where(model))
    found.append((loss, model(src, tgt, lens)))
for loss, outputs in found:
    np.testing.assert_allclose(loss, found[0][0], rtol=1e-13)
    np.testing.assert_allclose(outputs, found[0][1], rtol=1e-13)
"""


@pytest.mark.parametrize("name", [p for p in frameworks("tensorflow") if p.values[0] in SECOND])
def test_what_is_chosen_computes(name):
    if name not in d2l_ext.installed():
        pytest.skip(f"{name} is not installed")
    flags = f"{environment.QUICK['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    run_alone(PLACED.format(name=name, second=SECOND[name]), XLA_FLAGS=flags)
