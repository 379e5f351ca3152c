"""What no case of the catalogue walks, and why: whole files, and branches of columns.

A column that is not here has not been held against its branches yet.
A branch is named as `branches.named` does. One that is gone, or taken by a case, is not to stand
here, which `tests/harness/test_branches.py` sees.
"""

FILES = {
    "defaults": "measures the framework itself, for the report: test_differences",
    "hooks": "looks into other people's modules: test_locate, test_trace, test_audit",
    "onnx": "writes files: test_export",
    "parallel": "needs several processes: tests/parallel",
}
LEFT = {
    "torch": {
        "backend: if inputs: -> the end": "a module without lazy weights needs no example: "
        "test_interface",
        "backend: elif outputs.requires_grad: -> the end": "an output that no number leads to has "
        "no cotangent in a case",
        "decoding: if mask is None: -> return keys, values, None": "no source is padded: "
        "test_decoding",
        "decoding: if not torch.equal(taken, sentences): -> caches = [": "beams change places "
        "within their sentences: test_decoding",
        "decoding: if taken is None or taken.shape != shape: -> old, new = "
        "(x.unflatten(1, (-1, heads))[:, :, :, :position] for x in (cache, taken))": "rows are "
        "taken again, as many: test_decoding",
    },
}
