"""Shapes in signatures are true: the catalogue's sample runs with every annotation checked."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import shapes
from grid import CALLS
from shared import frameworks

import d2l_ext

COLUMNS = [
    "torch",
    # Half a minute and a minute each.
    pytest.param("mxnet", marks=pytest.mark.slow),
    pytest.param("jax", marks=pytest.mark.slow),
    pytest.param("tensorflow", marks=pytest.mark.slow),
    "reference",
]
# What the sample does not call; "call" is what the framework calls.
NOT_CALLED = {
    "scoring.Attention.score": "only subclasses have one",
    "seq2seq.Encoder.call": "only subclasses have one",
    "seq2seq.Decoder.call": "only subclasses have one",
    "seq2seq.Decoder.init_state": "only subclasses have one",
    "seq2seq.Decoder.take_rows": "only subclasses have one",
    "seq2seq.Decoder.reserve": "where caches have no room, nobody asks for it",
    "transformer.TransformerDecoder.take_rows": "PyTorch's token step takes its rows itself",
    "gpt.GPT.reserve": "the reference's caches have no room, and nobody asks for it",
    "complex_step.gradient": "the check of forward mode, one run per parameter",
    "graph.made": "the sample does not train: test_mxnet",
    "products.pays": "asks for the processor: test_products",
    "products.fast": "the sample does not train: test_products",
    "onnx.write": "the tests of export call it",
    "onnx.Start.__init__": "the tests of export call it",
    "onnx.Start.state": "the tests of export call it",
    "onnx.Start.call": "the tests of export call it",
    "onnx.Step.__init__": "the tests of export call it",
    "onnx.Step.call": "the tests of export call it",
}


def run(code):
    """Run code, in which `shapes` can be imported, in a fresh process; returns what it prints."""
    command = [sys.executable, "-c", f"import importlib, numpy as np, d2l_ext, shapes\n{code}"]
    folder = Path(shapes.__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skip_unless_installed(column):
    if column not in (*d2l_ext.installed(), "reference"):
        pytest.skip(f"{column} is not installed")


def without_annotations(column):
    """Public functions and methods, an argument or the result of which has no annotation."""
    found = []
    for row in shapes.rows(column):
        tree = ast.parse((shapes.FOLDER / column / f"{row}.py").read_text(encoding="utf-8"))
        owners = [
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ]
        for owner in (tree, *owners):
            for node in owner.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    arguments = [*node.args.args, node.args.vararg, node.args.kwarg]
                    notes = [a.annotation for a in arguments if a and a.arg not in ("self", "cls")]
                    if None in (*notes, node.returns):
                        found.append(f"{row}.{getattr(owner, 'name', '')}.{node.name}")
    return found


@pytest.mark.parametrize("column", COLUMNS)
def test_no_annotation_is_violated(column):
    """Every annotated public function is called, but those above, and no annotation is violated.

    What Python calls is checked. In traced code, that is once per trace: JAX's tracers and
    TensorFlow's symbolic tensors have a dtype and a shape like arrays; what runs afterwards is not
    seen. AutoGraph, which would rewrite the checks, is off in what the TensorFlow column compiles.
    """
    skip_unless_installed(column)
    found = json.loads(run(f"shapes.report({column!r}, 'float64')").splitlines()[-1])
    annotated, called = set(found["annotated"]), set(found["called"])
    print(f"{column}: {len(called)} of {len(annotated)} annotated public functions called")
    assert found["errors"] == {}
    left = {name.replace(f".{CALLS[column]}", ".call") for name in annotated - called}
    assert left <= set(NOT_CALLED)
    bare = without_annotations(column)
    assert not annotated or not bare, "either a column has annotations or it has none"


PLANTED = """
import sys
from jaxtyping import TypeCheckError, install_import_hook

sys.path.append({folder!r})
with shapes.hook({column!r}), install_import_hook("wrong", "shapes.checker"):
    masking = importlib.import_module("d2l_ext.{column}.masking")
    import wrong
array = d2l_ext.backend({column!r}).array
X, tokens = array(np.ones((2, 3, 4))), array(np.ones((2, 3), int))
masking.masked_softmax(X, array(np.array([1, 2])))
masking.padding_mask(tokens, 1)
try:
    masking.masked_softmax(X, array(np.ones((2, 3, 4), int)))
except TypeCheckError as error:
    print("typechecking parameter 'valid_lens'" in str(error))
try:
    wrong.padding_mask(tokens, 1)
except TypeCheckError as error:
    print("checking the return value" in str(error))
"""


@pytest.mark.parametrize("column", [*frameworks("mxnet", "jax", "tensorflow"), "reference"])
def test_wrong_shapes_and_wrong_annotations_are_caught(column, tmp_path):
    """Lengths of three axes, which `checks` would refuse otherwise; axes in a wrong order."""
    skip_unless_installed(column)
    source = (shapes.FOLDER / column / "masking.py").read_text(encoding="utf-8")
    if "jaxtyping" not in source:
        pytest.skip(f"{column} has no annotations")
    assert '"batch 1 num_keys"' in source
    wrong = source.replace('"batch 1 num_keys"', '"batch num_keys 1"')
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    assert run(PLANTED.format(column=column, folder=str(tmp_path))).split() == ["True", "True"]
