"""The training loop: the same run from the same seed, exact continuation, clear errors."""

import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from shared import encoder_decoder, frameworks

from d2l_ext.data import TranslationData
from d2l_ext.training.loop import fit

PAIRS = [
    ("I see a cat.", "Je vois un chat."),
    ("He sees it.", "Il le voit."),
    ("I go.", "Je pars."),
    ("We see a big cat.", "Nous voyons un grand chat."),
    ("She goes home.", "Elle rentre."),
    ("It is late.", "Il est tard."),
]


@pytest.fixture(scope="module")
def data():
    return TranslationData(PAIRS, num_steps=6, num_train=6, num_val=0, batch_size=3, min_freq=1)


def make_trainer(backend, data, lr=0.01, dropout=0.1, dtype="float64", max_norm=1):
    vocab_sizes = len(data.src_vocab), len(data.tgt_vocab)
    names = "Seq2SeqEncoder", "Seq2SeqAttentionDecoder"
    module = encoder_decoder(backend.api, *names, vocab_sizes, 4, 5, 1, dropout)
    example = [a[:2] for a in (data.src, data.tgt_in, data.src_valid_len)]
    model = backend.model(module, *example, seed=3, dtype=dtype)
    return backend.trainer(model, lr, max_norm, pad=data.pad)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("backend", frameworks("tensorflow"), indirect=True)
def test_the_loss_falls(backend, data):
    trainer = make_trainer(backend, data, lr=0.03)
    seen = []
    history = fit(trainer, data, 25, on_step=lambda step, loss: seen.append((step, loss)))
    assert len(history.losses) == 25 * data.num_batches == trainer.num_steps
    assert seen == list(enumerate(history.losses, start=1))
    assert np.mean(history.losses[-3:]) < 0.5 * np.mean(history.losses[:3])
    real = int((data.tgt_out[:6] != data.pad).sum())
    assert history.tokens == 25 * real and history.tokens_per_second > 0


def test_a_run_that_was_stopped_goes_on_exactly(backend, data):
    options = {"seed": 1, "teacher_forcing_ratio": 0.5}
    trainer = make_trainer(backend, data)
    start = trainer.model.parameters(), trainer.state()
    losses = fit(trainer, data, 3, **options).losses
    end = trainer.model.parameters()

    class Stop(Exception):
        pass

    def stop(step, loss):
        if step == 3:  # in the middle of the second epoch
            raise Stop

    trainer.model.load_parameters(start[0])
    trainer.load_state(start[1])
    with pytest.raises(Stop):
        fit(trainer, data, 3, **options, on_step=stop)
    second = make_trainer(backend, data)
    second.model.load_parameters(trainer.model.parameters())
    second.load_state(trainer.state())
    assert fit(second, data, 3, **options).losses == losses[3:]
    assert same(second.model.parameters(), end)
    assert fit(second, data, 3, **options).losses == []


def test_the_coins_of_teacher_forcing_matter(torch_backend, data):
    runs = [
        fit(make_trainer(torch_backend, data), data, 1, teacher_forcing_ratio=ratio).losses
        for ratio in (1.0, 0.5, 0.0)
    ]
    assert len({losses[0] for losses in runs}) == 3


def test_schedule_and_early_stop(torch_backend, data):
    trainer = make_trainer(torch_backend, data)
    rates = []
    fit(
        trainer,
        data,
        5,
        schedule=lambda step: 0.1 / step,
        on_step=lambda step, loss: rates.append(trainer.lr),
        on_epoch=lambda epoch, history: epoch == 2,
    )
    assert rates == [0.1 / step for step in range(1, 2 * data.num_batches + 1)]


def test_a_loss_that_is_not_finite(torch_backend, data):
    trainer = make_trainer(torch_backend, data, lr=0.5)
    params = trainer.model.parameters()
    params["decoder.dense.bias"][:] = np.inf
    trainer.model.load_parameters(params)
    with pytest.raises(
        FloatingPointError, match=r"step 1: try a lower learning rate \(it is 0\.5\)"
    ):
        fit(trainer, data, 1)


def test_bad_arguments(torch_backend, data):
    trainer = make_trainer(torch_backend, data)
    with pytest.raises(ValueError, match=r"teacher_forcing_ratio: got 1\.5"):
        fit(trainer, data, 1, teacher_forcing_ratio=1.5)
    with pytest.raises(ValueError, match="num_epochs: got -1"):
        fit(trainer, data, -1)


def test_progress_without_a_terminal_is_a_line_now_and_then(
    torch_backend, data, capsys, monkeypatch
):
    fit(make_trainer(torch_backend, data), data, 1)
    fit(make_trainer(torch_backend, data), data, 1, progress=True)  # over before the first line
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("d2l_ext.progress.SECONDS", 0)
    fit(make_trainer(torch_backend, data), data, 1, progress=False)
    fit(make_trainer(torch_backend, data), data, 1)
    assert capsys.readouterr() == ("", "")
    fit(make_trainer(torch_backend, data), data, 1, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    for number, line in enumerate(err.splitlines(), start=1):
        pattern = rf"{number} of 2: epoch 1, loss \d\.\d{{3}}, [\d,]+ tokens/s, 0:0\d left"
        assert re.fullmatch(pattern, line), line
    assert err.count("\n") == 2


def test_progress_on_a_terminal_is_a_bar():
    """What is printed meanwhile stays where it belongs, here in a file."""
    script = """
import sys
from d2l_ext.progress import Bar
with Bar(2) as shown:
    print("in the file")
    shown.show(1, "one of them")
    shown.show(2, "both")
"""
    terminal, end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=end,
        env=os.environ | {"TERM": "xterm"},
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert done.stdout == b"in the file\n" and "in the file" not in shown
    assert "2/2" in shown and "both" in shown


@pytest.fixture(scope="module")
def torch_backend():
    pytest.importorskip("torch")
    import d2l_ext

    return d2l_ext.backend("torch")
