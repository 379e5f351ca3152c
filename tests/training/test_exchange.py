"""Train in one framework, translate in another: a small one of the matrices of `exchange.py`."""

import pytest
from exchange import METHODS, Exchange, held_out, train

import d2l_ext
from d2l_ext.training.settings import read_settings

SMALL = {
    "max_pairs": 600,
    "min_freq": 1,
    "embed_size": 16,
    "num_hiddens": 16,
    "ffn_num_hiddens": 24,
    "num_heads": 2,
    "num_layers": 1,
    "test_fraction": 0.2,
    "buckets": (12,),
    "epochs": 3,
    "lr": 0.01,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bahdanau", "transformer"])
def test_trained_in_one_translated_in_all(backend, tmp_path, kind):
    settings = read_settings(**SMALL, backend=backend.name, model=kind)
    path = train(tmp_path / "run", settings, report=lambda line: None)
    exchange = Exchange(path, held_out(settings, 60))
    for method in METHODS:
        cells, budget = exchange.cells(d2l_ext.installed(), method)
        assert budget < 1e-2
        for name, cell in cells.items():
            assert not cell.different, (name, method)
            assert cell.sentences == 60 and cell.log_prob < 1e-4
        assert str(cells[backend.name]).startswith("60 same")
