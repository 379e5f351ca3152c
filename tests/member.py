"""One process of a group: trains a small translator in both precisions, and keeps what it saw.

``python tests/member.py BACKEND RANK PORTS FILE [STEPS]``; without ports, "", it trains alone.
"""

import sys

import numpy as np

import d2l_ext
from d2l_ext.training import greedy

VOCABS, STEPS, LR, MAX_NORM = (11, 13), 100, 0.01, 0.2
DTYPES = ("float64", "float32")


def translator(api):
    """Return a translator with dropout wherever there can be some."""
    sizes = dict(embed_size=5, num_hiddens=6, num_layers=2, dropout=0.2)
    return api.EncoderDecoder(
        api.Seq2SeqEncoder(VOCABS[0], **sizes), api.Seq2SeqAttentionDecoder(VOCABS[1], **sizes)
    )


def batches():
    """Return batches that do not divide by 2 or 3, with rows of padding alone, and too small."""
    rng = np.random.default_rng(14)
    found = []
    for num_rows, num_padding in ((7, 0), (7, 3), (2, 0)):
        src = rng.integers(1, VOCABS[0], (num_rows, 4))
        tgt_in, tgt_out = (rng.integers(1, VOCABS[1], (num_rows, 4)) for _ in range(2))
        tgt_out[rng.random(tgt_out.shape) < 0.3] = 0
        tgt_out[num_rows - num_padding :] = 0
        found.append((src, tgt_in, rng.integers(1, 5, num_rows), tgt_out))
    return found


def train(be, dtype, group, steps):
    """Train; return losses, the first step's gradient and the translations afterwards."""
    data = batches()
    model = be.model(translator(be.api), *(x[:1] for x in data[0][:-1]), dtype=dtype)
    trainer = be.trainer(model, LR, MAX_NORM, pad=0, group=group)
    losses = [trainer.step(data[0])]
    first = trainer.state()["m"]
    losses += [trainer.step(data[step % len(data)]) for step in range(1, steps)]
    options = dict(bos=1, eos=2, max_steps=6)
    tokens = greedy(model, data[0][0], data[0][2], **options).tokens
    return {
        "losses": losses,
        "gradients": {name: m / (1 - d2l_ext.interface.BETA1) for name, m in first.items()},
        "tokens": np.array([[*row, *[-1] * (6 - len(row))] for row in tokens]),
        "parameters": model.parameters(),
    }


def main(name, rank, ports, path, steps=STEPS):
    """Train in both precisions as one of a group; the leader writes a file."""
    be, addresses = d2l_ext.backend(name), [f"127.0.0.1:{port}" for port in ports]
    group = be.join(rank, addresses) if addresses else None
    found = {}
    for dtype in DTYPES:
        for what, value in train(be, dtype, group, steps).items():
            several = value if isinstance(value, dict) else {"": value}
            found |= {f"{dtype}/{what}/{key}": x for key, x in several.items()}
    if rank == 0:
        np.savez(path, **found)
    if group is not None:
        group.close()


if __name__ == "__main__":
    name, rank, ports, path, *steps = sys.argv[1:]
    main(name, int(rank), ports.split(",") if ports else [], path, *map(int, steps))
