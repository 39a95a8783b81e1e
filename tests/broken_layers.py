"""Lines to break, and the tests that must notice: claim 3 and the codebooks (:mod:`tests.mutations`)."""

from __future__ import annotations

from tests.broken_lines import Mutation

MUTATIONS: list[Mutation] = [
    (
        "harness/quantizers.py",
        "return to_spacing(numbers, spacing(numbers, floor), torch.floor)",
        "return to_spacing(numbers, spacing(numbers, floor), torch.round)",
        "test_quantizers",
    ),
    ("harness/quantizers.py", "up((highest - low) / steps)", "up((highest - lowest) / steps)", "test_quantizers"),
    ("harness/quantizers.py", "(1 if self.symmetric else 2)", "1", "test_quantizers"),
    ("harness/quantizers.py", "return rows * ceil(columns / per)", "return rows * (columns // per)", "test_quantizers"),
    ("harness/kmeans.py", "for _ in range(LIMIT):", "for _ in range(4):", "test_kmeans"),
    (
        "harness/kmeans.py",
        "codebook = nearest(centroids(weight, self.levels, self.per))",
        "codebook = centroids(weight, self.levels, self.per)",
        "test_kmeans",
    ),
    ("harness/gptq.py", "error = (work[:, j] - rounded) / factor[j, j]", "error = work[:, j] - rounded", "test_gptq"),
    ("harness/gptq.py", "work[:, end:] -= errors @ factor[start:end, end:]", "pass", "test_gptq"),
    ("harness/gptq.py", "mean = diagonal[~dead].mean() if", "mean = diagonal.mean() if", "test_gptq"),
    ("harness/layers.py", "return held.T if self.transposed else held", "return held", "test_layers"),
    ("harness/layers.py", "held.append((layer, layer._oriented().clone()))", "held.append((layer, layer._oriented()))", "test_layers"),
    ("harness/layers.py", "return experts > 0 and len(parameter) in {1, experts}", "return True", "test_layers"),
    ("harness/layer_inputs.py", "for marks in (rows, rows.flatten()):", "for marks in (rows,):", "test_layer_inputs"),
    ("harness/layer_inputs.py", "if times[use.weight.name, use.index] > 1:", "if False:", "test_other_mlps"),
    ("harness/layer_inputs.py", 'parameter.device.type == "meta"', 'parameter.device.type == "mps"', "test_other_mlps"),
    ("harness/cosine.py", 'norm="ortho"', 'norm="backward"', "test_cosine"),
    ("harness/rotations.py", "_sylvester(order) / order**0.5", "_sylvester(order) / size**0.5", "test_rotations"),
    ("harness/rotations.py", "(sums.xy - sums.n * torch.outer(x.mean, y.mean))", "sums.xy", "test_rotations"),
    ("harness/rotations.py", "ridge * float(side.values.mean())", "ridge * float(side.values.sum())", "test_rotations"),
    ("harness/factors.py", "return m * n // (m + n)", "return m * n // (m + n) + 1", "test_factors"),
    ("harness/weight_spectra.py", "generator.shuffle(flat)", "generator.shuffle(entries)", "test_weight_spectra"),
    ("harness/concentration.py", "without_each(shuffled)).mean(0)", "shuffled).mean(0)", "test_weight_spectra"),
    (
        "claims/everywhere.py",
        "np.nanmin(self.limits(self.level(level))[0])",
        "np.nanmax(self.limits(self.level(level))[0])",
        "test_everywhere",
    ),
    ("claims/everywhere.py", "return 1 - 0.05 / max(self.count, 1) if self.one_falsifies else level", "return level", "test_everywhere"),
    ("reports/wall_evidence.py", "_BELOW if ratio < 1 else", "_BELOW if ratio < 0.5 else", "test_wall_evidence"),
    ("harness/contests.py", "beta=0, alpha=2,", "beta=0, alpha=1,", "test_arena"),
    ("harness/concurrency.py", "key=lambda i: -size(given[i])", "key=lambda i: size(given[i])", "test_concurrency"),
    ("harness/concurrency.py", "for i in range(len(given))]\n", "for i in begun]\n", "test_concurrency"),
    ("harness/concurrency.py", "each.cancel()", "pass", "test_concurrency"),
    (
        "harness/quantizers.py",
        ".expand(-1, -1, per).reshape(weight.shape)",
        ".expand(-1, -1, per).mT.reshape(weight.shape)",
        "test_quantizers",
    ),
    ("harness/contests.py", "out[start:end, :start].zero_()", "pass", "test_arena"),
    ("harness/contests.py", "            waiting.clear()\n", "            pass\n", "test_arena"),
    ("harness/contests.py", "if choice and not inputs[choice].sums.n:", "if False:", "test_arena"),
    (
        "harness/reconstructing.py",
        'calibration.scored(ALL) if rung == "paper" else',
        'calibration.scored(ALL) if rung == "held-out" else',
        "test_reconstructing",
    ),
    ("harness/reconstruction.py", "        there = below > 0\n", "        there = below >= 0\n", "test_planted_wall"),
]
SLOW: list[Mutation] = [
    ("harness/factors.py", "torch.where(largest < 0, -1.0, 1.0)", "torch.where(largest < 0, 1.0, 1.0)", "test_reconstructing"),
    (
        "harness/contests.py",
        "return [(levels, 1 - more), (levels + 1, more)] if more > 0 else [(levels, 1.0)]",
        "return [(levels, 1.0)]",
        "test_reconstructing",
    ),
    ("harness/contests.py", '"cross": change_a @ b + a @ change_b', '"cross": change_a @ b', "test_reconstructing"),
    ("harness/contests.py", "given = replace(given, weight=given.weight.clone(), inputs=inputs, made={})", "pass", "test_arena"),
    ("harness/methods.py", "* p.basis_bits * basis.numel() * self.share", "* p.basis_bits * basis.numel()", "test_reconstructing"),
    (
        "harness/methods.py",
        "outer = gptq(a, inner @ given.second_moment @ inner.T, quantizer, damping)",
        "outer = gptq(a, b @ given.second_moment @ b.T, quantizer, damping)",
        "test_reconstructing",
    ),
    ("harness/layer_moments.py", "tokens[group] += len(x)", "pass", "test_reconstructing"),
    (
        "harness/downstream.py",
        'after if rung == "paper" else torch.where(',
        'after if rung != "strict" else torch.where(',
        "test_reconstructing",
    ),
    (
        "claims/wall.py",
        'found, grain = lab.arena(rung), GROUPED if rung == "strict" else OWN',
        "found, grain = lab.arena(rung), OWN",
        "test_planted_wall",
    ),
]
"""Whose tests store whole models: run by ``--slow``."""
