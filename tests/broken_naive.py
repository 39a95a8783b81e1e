"""Lines to break in what is computed without the engine, and the test that must notice (:mod:`tests.mutations`)."""

from tests.broken_lines import Mutation

_SAME = "test_naive::test_both_sides_give_the_same_figures"

MUTATIONS: list[Mutation] = [
    ("benchmarks/naive_model.py", "norm <= factor * norm.median", "norm <= 2 * factor * norm.median", f"{_SAME}[4]"),
    ("benchmarks/naive_model.py", "before & after for before, after", "before for before, after", f"{_SAME}[4]"),
    ("benchmarks/naive_fits.py", "(len(rows) - 1) / len(rows) * np.square", "1 / len(rows) * np.square", f"{_SAME}[4]"),
    ("benchmarks/naive_fits.py", "every_second = rows[::2]", "every_second = rows[::3]", f"{_SAME}[4]"),
    ("benchmarks/naive_fits.py", "grid[best], 1 - errors", "grid[0], 1 - errors", f"{_SAME}[4]"),
    ("benchmarks/naive_claim1.py", "(values - k / d) / (1 - k / d) if strict else values", "values", f"{_SAME}[1]"),
    (
        "benchmarks/naive_claim1.py",
        "dropped = 1 - pca.values[:k].sum() / pca.values.sum()",
        "dropped = pca.values[:k].sum() / pca.values.sum()",
        f"{_SAME}[1]",
    ),
    ("benchmarks/naive_claim1.py", 'clean.typical("intervention", block) if typical else None', "None", f"{_SAME}[1]"),
    ("benchmarks/naive_claim2.py", "marked(at or over)", "marked(over)", f"{_SAME}[2]"),
    ("benchmarks/naive_claim2.py", 'group != g if rung == "paper" else slice(None)', "slice(None)", f"{_SAME}[2]"),
    (
        "benchmarks/naive_claim2.py",
        "for b in over:\n                h = h + maps(b)(h)",
        "for b in over[1:]:\n                h = h + maps(b)(h)",
        f"{_SAME}[2]",
    ),
    ("benchmarks/naive_claim3.py", "total(parts[::2] if half else parts)", "total(parts)", f"{_SAME}[3]"),
    ("benchmarks/naive_claim3.py", "if learned and self.strict else 0", "if learned else 0", f"{_SAME}[3]"),
    ("benchmarks/naive_claim3.py", "if more > 0 else [(low, 1.0)]", "if more > 2 else [(low, 1.0)]", f"{_SAME}[3]"),
    ("benchmarks/naive_claim4.py", "jackknife(self.value, self.fit, self.score)", "jackknife(self.value, self.fit)", f"{_SAME}[4]"),
    ("benchmarks/naive_claim5.py", "0.5 * (1 + math.cos(", "1.0 * (1 + math.cos(", f"{_SAME}[5]"),
    ("benchmarks/naive_claim5.py", ".all(0) & counted[kept]", ".all(0)", f"{_SAME}[5]"),
    (
        "benchmarks/naive_claim5.py",
        "(marked & ~other & of).sum() * (~marked & other & of).sum() / n",
        "(marked & ~other & of).sum() * (~marked & other & of).sum()",
        f"{_SAME}[5]",
    ),
    (
        "benchmarks/naive_model.py",
        "self.passes += ids.size * len(self.blocks)",
        "self.passes += ids.size",
        "test_naive::test_clean_run_counts_every_block",
    ),
]
