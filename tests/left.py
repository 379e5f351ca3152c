"""What no case of the catalogue walks, and why: whole files, and branches of each column.

A branch is named as `branches.named` does. One that is gone, or taken by a case, is not to stand
here, which `tests/harness/test_branches.py` sees.
"""

FILES = {
    "defaults": "measures the framework itself, for the report: test_differences",
    "hooks": "looks into other people's modules: test_locate, test_trace, test_audit",
    "onnx": "writes files: test_export",
    "parallel": "needs several processes: tests/parallel",
}
ABSTRACT = "a method that every subclass has"
LEFT = {
    "torch": {},
    "mxnet": {},
    "jax": {},
    "tensorflow": {},
}
