"""Train in each framework, translate in every other: the 4 x 4 matrix.

``python tests/exchange.py --data fra.txt`` prints it for a corpus; `test_exchange.py` is a small
one. Each cell compares B's translations of held-out sentences with those of A, which trained.
Other tokens are a failure unless A's choice between them was a tie: its margin is at most 8 times
the largest change of a margin when A's parameters move by one rounding unit (5 draws).
"""

import dataclasses
import json
import sys
from pathlib import Path

import click
import numpy as np

import d2l_ext
from d2l_ext.agreement.cases.plans import moved
from d2l_ext.agreement.judging.drift import first_difference, margin_change
from d2l_ext.data import BucketedData
from d2l_ext.training import checkpoint, run
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import Task
from d2l_ext.training.translation import translations

METHODS = {"greedy": {}, "beam 4": {"method": "beam", "beam": 4}}
FACTOR, DRAWS = 8, 5


@dataclasses.dataclass
class Cell:
    """What B made of A's model.

    Attributes:
        sentences: how many were translated.
        different: sources of those whose tokens differ and were no tie.
        ties: how many differ because A's choice was a tie.
        log_prob: the largest difference of a translation's log-probability where tokens agree.
    """

    sentences: int
    different: list
    ties: int
    log_prob: float

    def __str__(self):
        same = self.sentences - len(self.different) - self.ties
        return f"{same} same, {self.ties} ties, {len(self.different)} other, {self.log_prob:.1e}"


def margin(method, one, other):
    """Return by how much `one` chose its translation and not `other`."""
    if method == "greedy":
        return one.margins[first_difference(one.ids, other.ids)]
    return one.margins.min()  # any choice of a beam search may be what differs


class Exchange:
    """One model that A trained, translated in all frameworks."""

    def __init__(self, path, sentences):
        self.saved = checkpoint.load(path)
        settings = read_settings(**self.saved.info["settings"])
        self.trained_in = settings.backend
        self.data = BucketedData.without_pairs(
            self.saved.src_vocab, self.saved.tgt_vocab, settings.buckets
        )
        self.sentences = sentences
        self._models = {}  # of the frameworks; a new one would be compiled again

    def translate(self, backend, method, parameters=None):
        """Translate in a framework, with the model's parameters or others."""
        if backend not in self._models:
            self._models[backend] = self.saved.build(d2l_ext.backend(backend))
        model = self._models[backend]
        model.load_parameters(self.saved.parameters if parameters is None else parameters)
        return translations(model, self.data, self.sentences, **METHODS[method])

    def cells(self, backends, method):
        """Return ``{backend: Cell}`` and the budget of a margin."""
        mine = self.translate(self.trained_in, method)
        budget = FACTOR * np.finfo(self.saved.dtype).eps
        for draw in range(DRAWS):
            others = self.translate(self.trained_in, method, moved(self.saved.parameters, 0, draw))
            changes = [
                margin_change(a.ids, b.ids, a.margins, b.margins)
                for a, b in zip(mine, others, strict=True)
            ]
            budget = max(budget, FACTOR * max(changes))
        return {b: self._cell(b, method, mine, budget) for b in backends}, budget

    def _cell(self, backend, method, mine, budget):
        cell = Cell(len(mine), [], 0, 0.0)
        theirs = self.translate(backend, method)
        for source, a, b in zip(self.sentences, mine, theirs, strict=True):
            if a.ids == b.ids:
                cell.log_prob = max(cell.log_prob, abs(a.log_prob - b.log_prob))
            elif margin(method, a, b) <= budget:
                cell.ties += 1
            else:
                cell.different.append(source)
        return cell


def held_out(settings, count):
    """Return distinct source sentences of the test part."""
    sources = dict.fromkeys(source for source, _ in Task(settings).test_pairs)
    return list(sources)[:count]


def train(folder, settings, report=print):
    """Train a model, as far as it is not there already; return the path of its checkpoint."""
    if (folder / run.CONFIG).exists():
        run.resume(folder, report=report)
    else:
        run.start(folder, settings, report=report)
    return folder / run.LAST


@click.command()
@click.option("--data", default="bundled", show_default=True)
@click.option("--sentences", default=500, show_default=True)
@click.option("--epochs", default=3, show_default=True)
@click.option("--kinds", default="bahdanau,transformer", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/exchange"))
def main(data, sentences, epochs, kinds, folder):
    """Print the matrix for a corpus; what is trained already in the folder is used again."""
    failed = False
    backends = d2l_ext.installed()
    for kind in kinds.split(","):
        for backend in backends:
            settings = read_settings(
                backend=backend, model=kind, data=data, epochs=epochs, **sizes(kind)
            )
            path = train(folder / f"{kind}-{backend}", settings, click.echo)
            exchange = Exchange(path, held_out(settings, sentences))
            for method in METHODS:
                cells, budget = exchange.cells(backends, method)
                for other, cell in cells.items():
                    line = {"model": kind, "method": method, "train": backend, "in": other}
                    click.echo(json.dumps(line | {"cell": str(cell), "budget": f"{budget:.1e}"}))
                    failed |= bool(cell.different)
    sys.exit(1 if failed else 0)


def sizes(kind):
    """Return settings of a small model."""
    common = {"num_hiddens": 96, "ffn_num_hiddens": 192, "embed_size": 64, "min_freq": 3}
    common |= {"buckets": (10, 16), "num_layers": 1, "schedule": "inverse_sqrt", "warmup": 200}
    common |= {"test_fraction": 0.1}
    return common | {"lr": 0.005 if kind == "bahdanau" else 0.002}


if __name__ == "__main__":
    main()
