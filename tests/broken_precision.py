"""Lines to break, and the tests that must notice: how measurements are computed, and that they repeat (:mod:`tests.mutations`)."""

from tests.broken_lines import Mutation

_INSIDE = "test_arithmetic::test_settings_hold_inside_and_are_put_back"
_RUNS = "test_arithmetic::test_no_module_of_a_model_runs_otherwise"
_WORKSPACES = "test_arithmetic::test_workspaces_are_fixed_unless_they_were"
_ATTENTION = "test_arithmetic::test_training_through_attention_takes_plain_products_on_cuda"
_KEYED = "test_arithmetic::test_only_an_accelerators_figures_are_keyed_by_it"
_DRAWN = "test_determinism::test_every_draw_is_from_a_seeded_generator_of_the_cpu"
_ORDER = "torch.use_deterministic_algorithms, on"
_ARITHMETIC = "harness/arithmetic.py"
MUTATIONS: list[Mutation] = [
    (_ARITHMETIC, '"ieee" if place in _LEAVES else "none")', '"tf32" if place in _LEAVES else "none")', _INSIDE),
    (_ARITHMETIC, "in (*_PARENTS, *_LEAVES):", "in _LEAVES:", _INSIDE),
    (_ARITHMETIC, 'for backend in ("cuda", "mkldnn") for what', 'for backend in ("cuda",) for what', _INSIDE),
    (_ARITHMETIC, "else (False, split))", "else (True, split))", _INSIDE),
    (_ARITHMETIC, "was if split is None else (was, split))", "was)", _INSIDE),
    (_ARITHMETIC, "cuda.matmul.allow_fp16_accumulation = False", "pass", _INSIDE),
    (_ARITHMETIC, "cuda.allow_fp16_bf16_reduction_math_sdp(False)", "pass", _INSIDE),
    (_ARITHMETIC, f"stack.callback({_ORDER}, warn_only=warn_only)", "pass", _INSIDE),
    (
        _ARITHMETIC,
        f"stack.callback({_ORDER}, warn_only=warn_only)",
        f"stack.callback({_ORDER})",
        _INSIDE,
    ),
    (_ARITHMETIC, "torch.use_deterministic_algorithms(True, warn_only=True)", "torch.use_deterministic_algorithms(True)", _INSIDE),
    (_ARITHMETIC, "    cudnn.benchmark = False", "    pass", _INSIDE),
    (_ARITHMETIC, "os.environ.setdefault(", "os.environ.__setitem__(", _WORKSPACES),
    (
        _ARITHMETIC,
        "sdpa_kernel(SDPBackend.MATH)",
        "nullcontext()",
        _ATTENTION,
    ),
    ("harness/loading.py", "    fix_workspaces()", "    pass", _WORKSPACES),
    ("harness/loading.py", "@exact_arithmetic()\ndef load(", "def load(", _RUNS),
    ("harness/measurement.py", "    @exact_arithmetic()\n", "", _RUNS),
    ("harness/replaced_model.py", "@exact_arithmetic()\n", "", _RUNS),
    ("harness/saving_maps.py", "@exact_arithmetic()\n", "", _RUNS),
    ("harness/replaced_model_command.py", "@exact_arithmetic()\n", "", _RUNS),
    (
        "harness/pair.py",
        'if facts.device != "cpu" else {}',
        "if False else {}",
        _KEYED,
    ),
    (
        "harness/interventions.py",
        "torch.randn(shape, generator=generator, dtype",
        "torch.randn(shape, dtype",
        _DRAWN,
    ),
    (
        "tests/core_rows.py",
        "(one.cell, one.verdict) != (other.cell, other.verdict)",
        "one.cell != other.cell",
        "test_cuda::test_an_altered_row_is_found",
    ),
]
