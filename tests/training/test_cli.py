"""The command line, as a user types it; training runs that are killed; bad input."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner
from command import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shared import frameworks

import d2l_ext
from d2l_ext.cli import main
from d2l_ext.data import BucketedData, load_pairs
from d2l_ext.training import checkpoint, run
from d2l_ext.training.settings import Settings, read_settings

SMALL = {
    "max_pairs": 150,
    "min_freq": 1,
    "embed_size": 8,
    "num_hiddens": 8,
    "ffn_num_hiddens": 12,
    "num_heads": 2,
    "num_layers": 1,
    "val_fraction": 0.1,
    "test_fraction": 0.1,
    "batch_size": 32,
    "buckets": (6, 16),
    "epochs": 2,
    "save_every": 2,
}


# What a recurrent model does not have; the command line takes it for a Transformer only.
OF_TRANSFORMER = ("ffn_num_hiddens", "num_heads")


def options(**given):
    values = {k: v for k, v in SMALL.items() if k not in OF_TRANSFORMER} | given
    shown = {
        k: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for k, v in values.items()
    }
    return [part for k, v in shown.items() for part in ("--" + k.replace("_", "-"), v)]


def fails(*args, **kwargs):
    """Run a command that must fail with one line; returns the line."""
    lines = invoke(*args, status=2, **kwargs).stderr.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert all(line.startswith(("Usage", "Try", "Error", "")) for line in lines)
    return lines[-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small run in PyTorch, which all commands can use."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("run") / "small"
    result = invoke("train", "--out", folder, *options())
    assert "2 epochs; best BLEU" in result.stdout
    return folder


# Training


def test_a_run_leaves_what_it_should(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {run.CONFIG, run.LAST, run.BEST, run.LOG, run.PICTURE}
    config = tomllib.loads((trained / run.CONFIG).read_text())
    given = {k: v for k, v in SMALL.items() if k not in OF_TRANSFORMER}
    assert config == json.loads(json.dumps(vars(read_settings(**given))))
    entries = [json.loads(line) for line in (trained / run.LOG).read_text().splitlines()]
    steps = [e["step"] for e in entries if e["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    epochs = [e for e in entries if e["event"] == "epoch"]
    assert [e["epoch"] for e in epochs] == [1, 2]
    assert all(e["val_loss"] > 0 and 0 <= e["bleu"] <= 100 for e in epochs)
    assert "tok:13a" in epochs[0]["signature"]
    last, best = (checkpoint.load(trained / name) for name in (run.LAST, run.BEST))
    assert last.training["num_steps"] == len(steps) and best.training is None
    with Image.open(trained / run.PICTURE) as image:
        assert image.size[0] > 500


def test_a_run_from_a_config_file(tmp_path, trained):
    folder = tmp_path / "again"
    invoke("train", "--config", trained / run.CONFIG, "--out", folder, "--epochs", 2)
    first, again = (checkpoint.load(f / run.LAST).parameters for f in (trained, folder))
    assert all(np.array_equal(first[name], again[name]) for name in first)


class Killed(BaseException):
    """Ends a run wherever it is."""


def stopped_and_resumed(tmp_path, monkeypatch, wanted, kills):
    """Compare a run that was killed while it wrote certain checkpoints with one that was not."""
    quiet = {"report": lambda line: None}
    run.start(tmp_path / "whole", wanted, **quiet)
    replacing, calls = checkpoint.replacing, []

    def killing(path):
        calls.append(path)
        if len(calls) in kills:  # the old file stays
            raise Killed
        return replacing(path)

    monkeypatch.setattr(checkpoint, "replacing", killing)
    with pytest.raises(Killed):
        run.start(tmp_path / "killed", wanted, **quiet)
    for _ in kills[1:]:
        with pytest.raises(Killed):
            run.resume(tmp_path / "killed", **quiet)
    run.resume(tmp_path / "killed", **quiet)
    run.resume(tmp_path / "killed", **quiet)  # there is nothing left to do
    same_run(tmp_path / "whole", tmp_path / "killed")


# One bucket and batches of one size: few shapes, so that little has to be compiled.
FEW_SHAPES = {**SMALL, "max_pairs": 90, "buckets": (16,), "batch_size": 35, "save_every": 1}


@pytest.mark.parametrize("backend", frameworks("jax", "tensorflow"), indirect=True)
def test_a_killed_run_ends_as_if_it_had_not_been(backend, tmp_path, monkeypatch):
    wanted = read_settings(**{**FEW_SHAPES, "backend": backend.name})
    stopped_and_resumed(tmp_path, monkeypatch, wanted, (2,))


@pytest.mark.slow
def test_a_killed_transformer(backend, tmp_path, monkeypatch):
    wanted = read_settings(**{**FEW_SHAPES, "backend": backend.name, "model": "transformer"})
    stopped_and_resumed(tmp_path, monkeypatch, wanted, (2, 5))


def test_kills_one_after_the_other(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    stopped_and_resumed(tmp_path, monkeypatch, read_settings(**SMALL), (1, 3, 4, 7))


def same_run(one, other):
    for name in (run.LAST, run.BEST):
        a, b = (checkpoint.load(folder / name) for folder in (one, other))
        assert a.info == b.info and a.parameters.keys() == b.parameters.keys()
        for key, value in a.parameters.items():
            np.testing.assert_array_equal(value, b.parameters[key], err_msg=key)
        if a.training is not None:
            assert a.training["num_steps"] == b.training["num_steps"]
            for moment in ("m", "v"):
                for key, value in a.training[moment].items():
                    np.testing.assert_array_equal(value, b.training[moment][key])
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if "second" not in k}
            for line in (folder / run.LOG).read_text().splitlines()
        ]
        for folder in (one, other)
    ]
    assert logs[0] == logs[1]


def steps_in(log):
    """Return the last step in a log that somebody is writing."""
    return max((e["step"] for e in run.read_log(log)), default=0)


def kill_at_random(command, log, rng):
    """Start a command and kill it: as it starts, or some steps later; say whether it still ran."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wanted = steps_in(log) + rng.choice([0, *range(1, 12)])
    pause = rng.uniform(0, 3 if wanted == steps_in(log) else 0.1)
    while process.poll() is None and steps_in(log) < wanted:
        time.sleep(0.005)
    time.sleep(pause)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert b"Error" not in errors, errors.decode()
    return was_running


@pytest.mark.slow
def test_kill_9_at_ten_random_moments(backend, tmp_path):
    wanted = read_settings(**{**SMALL, "backend": backend.name, "epochs": 40})
    wanted.write(tmp_path / "config.toml")
    command = [sys.executable, "-m", "d2l_ext", "train"]
    new = ["--config", tmp_path / "config.toml", "--out"]
    subprocess.run([*command, *new, tmp_path / "whole"], check=True, capture_output=True)
    killed, rng, moments = tmp_path / "killed", random.Random(0), []
    while len(moments) < 10:
        begun = (killed / run.CONFIG).exists()
        options = ["--resume", killed] if begun else [*new, killed]
        assert kill_at_random([*command, *options], killed / run.LOG, rng), moments
        moments.append(steps_in(killed / run.LOG))
    subprocess.run([*command, "--resume", killed], check=True, capture_output=True)
    same_run(tmp_path / "whole", killed)
    last = checkpoint.load(killed / run.LAST).training["num_steps"]
    print(f"{backend.name}: killed after the steps {moments} of {last}; the same in the end")


def interrupted(folder):
    """Start a run and interrupt it after its first step; return its status and errors."""
    command = [sys.executable, "-m", "d2l_ext", "train", "--out", folder, *options()]
    # Tests that a shell runs in the background ignore Ctrl-C, and what they start would inherit it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    while not steps_in(folder / run.LOG) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    return process.returncode, errors.decode()


def test_ctrl_c(tmp_path, trained):
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        status, errors = interrupted(folder)
        if status:  # or the run, which is short, was done before
            break
    assert errors.startswith(
        "\nstopping after this step; once more stops at once\nstopped at step "
    )
    assert errors.endswith(f"; go on with:  d2l-ext train --resume {folder}\n")
    assert status == 130
    invoke("train", "--resume", folder)
    same_run(trained, folder)


@pytest.mark.parametrize("call", [1, 3, 5, 6, 7, 10])
def test_a_full_disk(tmp_path, monkeypatch, trained, call):
    """The disk is full at the end of writing one file or another; the run goes on afterwards."""
    calls, original = itertools.count(1), os.fsync

    def full(descriptor):
        if next(calls) >= call:
            raise OSError(28, "No space left on device")
        original(descriptor)

    folder = tmp_path / "a"
    monkeypatch.setattr("os.fsync", full)
    result = invoke("train", "--out", folder, *options(), status=1)
    assert result.stderr.startswith("Error: [Errno 28] No space left on device")
    monkeypatch.setattr("os.fsync", original)
    if (folder / run.CONFIG).exists():
        assert f"; go on with: d2l-ext train --resume {folder}" in result.stderr
        invoke("train", "--resume", folder)
    else:
        invoke("train", "--out", folder, *options())
    same_run(trained, folder)


def test_early_stopping(tmp_path):
    pytest.importorskip("torch")
    folder = tmp_path / "a"
    result = invoke("train", "--out", folder, *options(lr=1e-9, epochs=9, patience=2))
    assert "3 epochs (stopped early); best BLEU 0.0 in epoch 1" in result.stdout
    assert "3 epochs (stopped early)" in invoke("train", "--resume", folder).stdout


def test_learning_rates():
    constant = Settings(lr=1.0, warmup=4)
    assert [constant.learning_rate(s, 10) for s in (1, 2, 4, 5)] == [0.25, 0.5, 1, 1]
    root = Settings(lr=1.0, warmup=4, schedule="inverse_sqrt")
    assert [root.learning_rate(s, 10) for s in (4, 16)] == [1, 0.5]
    cosine = Settings(lr=1.0, schedule="cosine")
    rates = [cosine.learning_rate(s, 10) for s in range(1, 12)]
    assert rates[0] == 1 and rates[5] == pytest.approx(0.5) and rates[10] == pytest.approx(0)
    assert rates == sorted(rates, reverse=True)


@given(
    lr=st.floats(1e-9, 1),
    seed=st.integers(0, 2**62),
    buckets=st.lists(st.integers(2, 99), min_size=1, max_size=5),
    data=st.text(),
)
def test_settings_are_what_their_file_says(lr, seed, buckets, data):
    settings = Settings(lr=lr, seed=seed, buckets=tuple(buckets), data=data)
    assert Settings(**tomllib.loads(settings.to_toml())) == settings


# Commands on a checkpoint


def test_translate_a_sentence_a_file_and_standard_input(trained, tmp_path):
    best = trained / run.BEST
    (one,) = invoke("translate", best, "We won.").stdout.splitlines()
    text = "We won.\r\n\r\n  \nI see.\n"
    (tmp_path / "a.txt").write_text(text, newline="")
    from_file = invoke("translate", best, "--input", tmp_path / "a.txt").stdout
    assert from_file.splitlines()[:3] == [one, "", ""] and len(from_file.splitlines()) == 4
    assert invoke("translate", best, input=text).stdout == from_file
    objects = [
        json.loads(x) for x in invoke("translate", best, "--json", input=text).stdout.splitlines()
    ]
    assert [o["text"] for o in objects] == from_file.splitlines()
    assert objects[0]["log_prob"] < 0 and objects[1]["tokens"] == []


def test_translate_in_every_framework(backend, trained):
    best = trained / run.BEST
    lines = "We won.\nI see.\nHe is late.\nWho are you?\n"
    for method in ((), ("--beam", 4)):
        expected = invoke("translate", best, "--backend", "torch", *method, input=lines).stdout
        found = invoke("translate", best, "--backend", backend.name, *method, input=lines).stdout
        assert found == expected


def test_translate_what_the_model_does_not_know(trained):
    best = trained / run.BEST
    result = invoke("translate", best, "We zzz won.")
    assert result.stderr == "unknown words: zzz\n" and result.stdout.count("\n") == 1
    result = invoke("translate", best, input="we " * 20 + "\n")
    assert "standard input, line 1: only the first 16 of 21 tokens" in result.stderr
    (line,) = invoke("translate", best, "--json", "zzz " * 10_000).stdout.splitlines()
    assert json.loads(line)["cut"] and len(json.loads(line)["unknown"]) == 10_000


def test_evaluate(trained, tmp_path):
    result = invoke("evaluate", trained / run.BEST, "--show", 2, "--output", tmp_path / "a.jsonl")
    assert "nrefs:var|case:lc|eff:no|tok:13a" in result.stdout and "BLEU" in result.stdout
    entries = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert all(e["references"] and e["smallest_margin"] >= 0 for e in entries)
    numbers = json.loads(invoke("evaluate", trained / run.BEST, "--json").stdout)
    assert numbers["sentences"] == len(entries) and numbers["part"] == "test"
    other = json.loads(
        invoke("evaluate", trained / run.BEST, "--json", "--data", "bundled", "--limit", 7).stdout
    )
    assert other["sentences"] == 7 and other["part"] == "all"


def test_the_test_part_has_no_source_of_the_training_part(trained, tmp_path):
    parts = {}
    for part in ("train", "val", "test"):
        path = tmp_path / part
        invoke("evaluate", trained / run.BEST, "--part", part, "--output", path)
        parts[part] = {json.loads(line)["source"] for line in path.read_text().splitlines()}
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["val"]


def test_inspect(trained):
    result = invoke("inspect", trained / run.LAST)
    assert "Seq2SeqAttentionDecoder(vocab_size=" in result.stdout
    assert "encoder.rnn.rnn.weight_ih_l0  24 x 8" in result.stdout
    assert "training state: after step" in result.stdout
    found = json.loads(invoke("inspect", "--json", trained / run.BEST).stdout)
    assert found["model"]["class"] == "EncoderDecoder" and found["training"] is None


@pytest.mark.parametrize("kind", [(), ("--steps",), ("--heads",)])
def test_plot(trained, tmp_path, kind):
    path = tmp_path / "map.png"
    result = invoke("plot", trained / run.BEST, "We won.", "--output", path, *kind)
    assert result.stdout.splitlines()[-1] == str(path)
    with Image.open(path) as image:
        assert min(image.size) > 100


def test_doctor_finds_what_is_wrong(monkeypatch):
    from d2l_ext.commands import doctor

    monkeypatch.setattr(doctor, "_framework", lambda name: doctor.Finding(True, f"{name}: fine"))
    assert "torch" in invoke("doctor").stdout
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr("d2l_ext.interface.installed", lambda: ("jax", "tensorflow"))
    versions = {"numpy": "1.26.4", "jax": "0.10.2"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    lines = invoke("doctor", status=1).stdout
    assert "FAIL  jax 0.10.2 with numpy 1.26.4: JAX from 0.8 wants numpy 2\n" in lines
    assert "unset KERAS_BACKEND" in lines and "pip install 'd2l-ext[torch]'" in lines


@pytest.mark.slow
def test_doctor_runs_the_frameworks(backend):
    from d2l_ext.commands import doctor

    finding = doctor._framework(backend.name)
    assert finding.ok, finding.text


def test_help_loads_no_framework():
    code = (
        "import sys\nfrom d2l_ext.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'mxnet', 'jax', 'tensorflow', 'matplotlib', 'sacrebleu'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "compare" in result.stdout and result.stdout.splitlines()[-1] == "[]"


def test_module_and_script_are_the_same_command():
    result = subprocess.run(
        [sys.executable, "-m", "d2l_ext", "nonsense"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "No such command 'nonsense'" in result.stderr


# Bad input


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--epochs", "0"], "epochs: got 0, must be positive"),
        (["--dropout", "1"], "dropout: got 1.0, must be at least 0 and less than 1"),
        (["--backend", "theano"], "backend: got 'theano', must be one of 'torch'"),
        (["--model", "rnn"], "model: got 'rnn'"),
        (["--buckets", "8,x"], "'8,x' is no list like 8,12,16"),
        (["--buckets", "1"], "buckets: got [1], must be lengths of at least 2"),
        (["--schedule", "inverse_sqrt"], "warmup: got 0, but the schedule inverse_sqrt needs some"),
        (["--model", "transformer", "--num-heads", "3"], "num_hiddens: got 256"),
        (["--num-heads", "2"], "--num-heads goes with --model transformer or gpt or bert or vit"),
        (["--attention", "dot"], "--attention goes with --model luong, not bahdanau"),
        (["--model", "transformer", "--embed-size", "8"], "--embed-size goes with --model seq2seq"),
        (["--val-fraction", "0"], "something to validate with"),
        (["--lr", "nan"], "lr: got nan, must be positive"),
        (["--data", "/no/such/file"], "is no file"),
        (["--resume", "/no/such/run"], "has no run to resume"),
        (
            ["--resume", "x", "--lr", "1"],
            "only --epochs, --workers, --hosts and --port can be given",
        ),
        (["--config", "/no/such.toml"], "/no/such.toml: cannot be read: No such file"),
        (["--max-pairs", "3"], "too few for a validation part"),
    ],
)
def test_bad_options_of_train(tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails("train", *args)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = ", "is no TOML file"),
        ("speed = 3", "unknown setting speed; there are backend, model"),
        ("lr = 'fast'", "lr: got 'fast', must be float"),
        ("epochs = 1.5", "epochs: got 1.5, must be a whole number"),
        ("epochs = true", "epochs: got True, must be a whole number"),
        ("buckets = [8, 'a']", "must be a list of whole numbers"),
        ("buckets = 8", "buckets: got 8, must be a list of whole numbers"),
        ("lr = inf", "lr: got inf, must be float"),
    ],
)
def test_bad_config_files(tmp_path, text, message):
    (tmp_path / "a.toml").write_text(text)
    assert message in fails("train", "--config", tmp_path / "a.toml", "--out", tmp_path / "run")


def test_two_runs_in_one_folder(trained):
    assert "has a run already" in fails("train", "--out", trained, *options())


def test_other_data_than_the_run_had(tmp_path):
    pytest.importorskip("torch")
    corpus, folder = tmp_path / "a.tsv", tmp_path / "run"
    lines = [f"{a}\t{b}" for a, b in load_pairs()[:150]]
    corpus.write_text("\n".join(lines))
    invoke("train", "--out", folder, *options(epochs=1, data=corpus))
    corpus.write_text("\n".join(lines[:-1]))
    assert "was trained on other data" in fails("train", "--resume", folder)
    message = "has changed since the model was trained on it"
    assert message in fails("evaluate", folder / run.BEST)
    invoke("evaluate", folder / run.BEST, "--data", corpus, "--limit", 3)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["translate", "BEST", "a", "--input", "b"], "cannot be given together"),
        (["translate", "BEST", ""], "empty sentence"),
        (["translate", "BEST", "a", "--beam", "2", "--sample"], "--beam and --sample"),
        (["translate", "BEST", "a", "--temperature", "2"], "--temperature goes with --sample"),
        (["translate", "BEST", "a", "--length-penalty", "1"], "--length-penalty goes with --beam"),
        (["translate", "BEST", "a", "--sample", "--top-k", "0"], "top_k: got 0"),
        (["translate", "BEST", "--input", "/no/such/file"], "No such file"),
        (["translate", "/no/such/file", "a"], "/no/such/file: cannot be read"),
        (["plot", "BEST", " "], "empty sentence"),
        (["plot", "BEST", "a", "--output", "a.nonsense"], "Format 'nonsense' is not supported"),
        (["plot", "BEST", "a", "--heads", "--steps"], "cannot be given together"),
        (["evaluate", "BEST", "--data", "/no/such/file"], "is no file"),
        (["inspect", "CONFIG"], "config.toml: is no safetensors file"),
    ],
)
def test_bad_options_of_other_commands(trained, args, message):
    places = {"BEST": trained / run.BEST, "CONFIG": trained / run.CONFIG}
    assert message in fails(*(places.get(arg, arg) for arg in args))


def test_input_that_is_not_utf_8(trained):
    line = fails("translate", trained / run.BEST, input=b"I see.\nIl a \xe9t\xe9.\n")
    assert "standard input, line 2: got byte 6 that is not UTF-8" in line


def test_plot_of_a_model_without_attention(tmp_path):
    pytest.importorskip("torch")
    folder = tmp_path / "run"
    invoke("train", "--out", folder, *options(model="seq2seq", epochs=1))
    assert "has no attention to draw" in fails("plot", folder / run.BEST, "I see.")


@pytest.fixture(scope="module")
def corpus_lines():
    return [f"{a}\t{b}\tCC-BY".encode() for a, b in load_pairs()[:120]]


CORPORA = {
    "one column": (
        b"only this",
        "line 4: number of columns: got 1, must be 2 or 3",
    ),
    "four columns": (b"a\tb\tc\td", "line 4: number of columns: got 4, must be 2 or 3"),
    "one side only": (b"Hello.\t ", "line 4: got an empty second column"),
    "Latin-1": ("Va\tété".encode("latin-1"), "line 4: got byte 4 that is not UTF-8"),
    "UTF-16": ("a\tb".encode("utf-16"), "line 4: got byte"),
}


@pytest.mark.parametrize("name", CORPORA)
def test_a_bad_line_of_a_corpus(tmp_path, corpus_lines, name):
    line, message = CORPORA[name]
    path = tmp_path / "corpus.tsv"
    path.write_bytes(b"\n".join([*corpus_lines[:3], line, *corpus_lines[3:]]))
    assert message in fails("train", "--out", tmp_path / "run", *options(data=path))
    assert not (tmp_path / "run").exists()


def test_lines_that_do_no_harm(tmp_path, corpus_lines):
    pytest.importorskip("torch")
    long = b"word " * 10_000 + b"\t" + b"mot " * 10_000
    path = tmp_path / "corpus.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*corpus_lines, b"", b"  ", long]) + b"\r\n")
    result = invoke("train", "--out", tmp_path / "run", *options(data=path, epochs=1))
    assert "(1 longer than 16 tokens left out)" in result.stdout


@settings(max_examples=50)
@given(data=st.data())
def test_damaged_corpora(tmp_path_factory, corpus_lines, data):
    """Bit flips, cuts and swaps: each is read as some other corpus or is one clear error."""
    good = b"\n".join(corpus_lines)
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    if data.draw(st.booleans()):
        bad[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        bad = bad[place:] + bad[: place // 2]
    path = tmp_path_factory.getbasetemp() / "damaged.tsv"
    path.write_bytes(bad)
    try:
        assert BucketedData(load_pairs(path), (16,), 8).num_batches > 0
    except ValueError as error:
        assert "damaged.tsv" in str(error) or "sentence" in str(error)


def test_a_framework_that_is_not_installed(trained, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = fails("translate", trained / run.BEST, "I see.", "--backend", "torch")
    assert "the torch backend needs torch: install it with pip install 'd2l-ext[torch]'" in line


def test_debug_shows_where_an_error_came_from():
    result = CliRunner().invoke(main, ["--debug", "train", "--epochs", "0"])
    assert isinstance(result.exception, ValueError)


def test_d2l_ext_itself_has_the_version():
    assert d2l_ext.__version__ in invoke("--version").stdout
