"""What no case of the catalogue walks, and why: whole files, and branches of columns.

A column that is not here has not been held against its branches yet.
A branch is named as `branches.named` does. One that is gone, or taken by a case, is not to stand
here, which `tests/harness/test_branches.py` sees.
"""

FILES = {
    "defaults": "measures the framework itself, for the report: test_differences",
    "hooks": "looks into other people's modules: test_locate, test_trace, test_audit",
    "onnx": "writes files: test_export",
    "products": "acts on large layers, and cases are small: test_products",
    "parallel": "needs several processes: tests/parallel",
}
DTYPES = "the cases have numbers of the dtypes that the contract names: test_mxnet"
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
    "mxnet": {
        "backend: if inputs: -> self.module.cast(self.dtype)": "a module without lazy weights needs"
        " no example: test_interface",
        "backend: elif is_floating(outputs): -> the end": "an output that no number leads to has"
        " no cotangent in a case",
        "backend: if x.dtype.name in DTYPES: ->"
        " if numpy.issubdtype(x.dtype, numpy.integer):": DTYPES,
        "backend: if numpy.issubdtype(x.dtype, numpy.integer): ->"
        ' return mnp.array(x, dtype="int64")': DTYPES,
        "backend: if numpy.issubdtype(x.dtype, numpy.integer): ->"
        ' raise ValueError(f"got dtype {x.dtype}, which MXNet does not have")': DTYPES,
        "layers: if 0 in x.shape: -> raise"
        ' ValueError(f"got an empty array, of shape {x.shape}, with which MXNet cannot'
        ' compute")': "an error: test_mxnet",
        'layers: if not (SHARED_CORES.exists() and SHARED_CORES.read_text().strip() == "1"): ->'
        ' os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")': "whether the machine's cores"
        " are shared",
        'numpy2: if importlib.util.find_spec("distutils") is None: ->'
        " import setuptools  # noqa: F401  # makes its own distutils importable": "from Python 3.12"
        " on: tools.matrix",
    },
    "jax": {
        'backend: if gpu is not None: -> jax.config.update("jax_default_matmul_precision",'
        ' "highest")  # no TF32': "no machine needs a GPU: test_machine, where there is one",
        "backend: if gpu is not None: -> the end": "a case computes where it is told: test_machine",
        "backend: if inputs: -> prepare(module)": "a module without lazy weights needs no example:"
        " test_interface",
        'backend: if method == "forward": ->'
        " return getattr(self.merged(), method)(*inputs), None": "cases call whole models:"
        " test_gpt",
        "backend: if not jnp.issubdtype(outputs.dtype, jnp.inexact): -> return 0.0": "an output of"
        " integers has no cotangent in a case: test_interface",
    },
    "tensorflow": {
        "backend: elif outputs.dtype.is_floating: -> the end": "an output of integers has no"
        " cotangent in a case: test_interface",
        "backend: if gpu is not None: ->"
        " tf.config.experimental.enable_tensor_float_32_execution(False)": "no machine needs a GPU:"
        " test_machine, where there is one",
        "backend: if gpu is not None: -> the end": "a case computes where it is told: test_machine",
        'backend: if hasattr(self.model.module, "check"): ->'
        " checks.labels(spec(labels), decoder_of(self.model.module).config)": "what a case trains"
        " checks its inputs",
        "backend: if inputs: -> self._slots = list(variables(self.module))": "a module without lazy"
        " weights needs no example: test_interface",
        'backend: if method != "forward": ->'
        " return getattr(self.module, method)(*inputs), None": "cases call whole models: test_gpt",
        "backend: if variable.dtype.name != self.dtype: -> raise"
        ' ValueError(f"{name}: got dtype {variable.dtype.name}, must be {self.dtype}")': "an error:"
        " test_tensorflow",
        'layers: if keras.config.backend() != "tensorflow": -> raise ImportError(': "an error, of a"
        " process that has chosen another: test_cli",
        "layers: if name in sys.modules: -> yield": "whether JAX was imported before: test_mxnet",
    },
}
