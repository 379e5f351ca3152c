"""Random bugs are reported: see `mutation`."""

import ast
import functools

import pytest
from mutation import (
    ALL,
    FATAL,
    FILES,
    NEWER,
    NEWER_NUMBER,
    NUMBER,
    parsed,
    report,
    report_elsewhere,
)

import d2l_ext

# Those that no case can report, and why.
SPEED = "both operators compute the same, one of them faster"
OWN_MASK = "the framework's own generator is tested in test_alone"
START = "a model has the common start; that of a module on its own is tested in test_nnx"
GROWS = "room is reserved a step earlier or later, which changes no number"
STRICT = "zip's strict: the lengths are the same"
GROWING = "the cases decode in reserved room; a cache that grows by itself: test_gpt"
ELU = "both branches are 1 at zero, and so are their slopes"
AXES = "of four axes, the last but one is number 2"
KEEP = "a backend says itself whether weights are kept; the class alone is tested in test_alone"
EXPLAINED = {
    "jax/layers: Dropout.mask: 1 -> 2": OWN_MASK,
    "jax/layers: Dropout.mask: kept.astype(like.dtype) / (1 - self.rate) -> "
    "kept.astype(like.dtype) * (1 - self.rate)": OWN_MASK,
    "jax/layers: matrix: 1 -> 2": START,
    "jax/layers: matrix: (rows + columns) * math.prod(window) -> "
    "(rows + columns) / math.prod(window)": START,
    "jax/layers: matrix: 2 * GENERATOR.random(shape, np.float32) - 1 -> "
    "2 * GENERATOR.random(shape, np.float32) + 1": START,
    "mxnet/layers: constant: not autograd.is_recording() -> autograd.is_recording()": SPEED,
    "mxnet/layers: matmul: 1 -> 2": "matrices without a batch: test_blockwise",
    "mxnet/positional: positions: 1 -> 2": "one step is spared an operator, which changes nothing",
    "jax/seq2seq: masked_loss: 0 -> 1": "JAX takes the last entry for an index that is too large",
    "jax/recurrent: stack_states: True -> False": STRICT,
    "mxnet/recurrent: Stack.scan: True -> False": STRICT,
    "mxnet/recurrent: stack_states: True -> False": STRICT,
    "mxnet/seq2seq: Seq2SeqDecoder.take_rows: 1 -> 2": "no step reads the encoder's outputs",
    "mxnet/transformer: append: True -> False": STRICT,
    "mxnet/transformer: steps_in: 1 -> 2": "goes on from D2L's state: test_contract",
    "tensorflow/recurrent: stack_states: True -> False": STRICT,
    "mxnet/scoring: Attention: True -> False #2": KEEP,
    "tensorflow/layers: Layer.__init__: False -> True": "inputs of another dtype: test_alone",
    "tensorflow/masking: causal_mask: 1 -> 2": "every negative number keeps the whole triangle",
    "torch/scoring: Attention: True -> False #2": KEEP,
    "torch/transformer: TransformerDecoder.reserve: 0 -> 1": GROWS,
    "torch/transformer: append: 1 -> 2 #2": "several steps into reserved room: test_transformer",
    # Of the newer files.
    "jax/caching: append: 2 -> 3 #2": GROWING,
    "jax/linear: feature_map: X > 0 -> X >= 0": ELU,
    "jax/linear: recurrent: -2 -> 2": AXES,
    "mxnet/caching: append: window is None -> window is not None": GROWING,
    "tensorflow/caching: reserved: 0 -> 1 #10": "room that is reserved twice: test_gpt",
    "tensorflow/normalization: LayerNorm.build: -1 -> 1": "Keras reads the last axis alone",
    "torch/linear: feature_map: X > 0 -> X >= 0": ELU,
    "torch/vision: ViT.forward: -1 -> 1": "the class's token is one step: its axis has length 1",
}

# A few of what is quick to run.
QUICK = [m for m in ALL if m.file in ("masking", "scoring", "positional")]
FEW = [m for column in d2l_ext.COLUMNS for m in QUICK if m.column == column][::3]


def check(mutation):
    if mutation.column not in d2l_ext.installed():
        pytest.skip(f"{mutation.column} is not installed")
    if mutation.id in EXPLAINED:
        pytest.skip(EXPLAINED[mutation.id])
    found = report_elsewhere(mutation) if mutation.id in FATAL else report(mutation)
    assert found, f"not reported: {mutation.id}"


@pytest.mark.parametrize("mutation", FEW, ids=lambda m: m.id)
def test_a_random_bug_is_reported(mutation):
    check(mutation)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [m for m in ALL if m not in FEW], ids=lambda m: m.id)
def test_every_random_bug_of_the_sample_is_reported(mutation):
    check(mutation)


def test_mutations_are_of_all_columns_and_files_and_change_something():
    assert len({m.id for m in ALL}) == len(ALL)
    for files, number in ((FILES, NUMBER), (NEWER, NEWER_NUMBER)):
        some = [m for m in ALL if m.file in files]
        assert len(some) == number * len(d2l_ext.COLUMNS)
        assert {m.file for m in some} == set(files)
    unchanged = functools.cache(lambda column, file: ast.unparse(parsed(column, file)))
    for mutation in ALL:
        assert mutation.applied() != unchanged(mutation.column, mutation.file)


def test_what_is_explained_is_in_the_sample():
    assert set(EXPLAINED) <= {m.id for m in ALL}
