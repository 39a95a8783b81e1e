"""Break each estimator by one line and see that a test fails: ``python -m tests.mutations``.

Each mutation is applied to a copy of the project; the tests named beside it must then fail. A mutation that survives is
printed and the exit code is 1. Takes some minutes, one at a time on each core, so it is run by hand, and by CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent

# (file, line as it stands, broken line, tests that must notice: a module of tests, or module::test)
MUTATIONS = [
    ("harness/moments.py", "self._xx[group].addmm_(x.T, x)", "self._xx[group] += (x.float().T @ x.float()).double()", "test_moments"),
    ("harness/moments.py", "self._xy[group].addmm_(x.T, y)", "self._xy[group].addmm_(x.T, y.flip(0))", "test_moments"),
    ("harness/moments.py", "self._n[group] += x.shape[0]", "self._n[group] = x.shape[0]", "test_moments"),
    ("harness/moments.py", "            self.yy - other.yy,", "            self.yy,", "test_moments"),
    ("harness/moments.py", "- torch.outer(a, y) + n * torch.outer(a, b)", "- torch.outer(a, y)", "test_moments"),
    ("harness/ridge.py", "return scale * float(sums.xx.diagonal().mean())", "return scale * float(sums.xx.diagonal().sum())", "test_ridge"),
    ("harness/ridge.py", "system.diagonal().add_(lam)", "system.diagonal().sub_(lam)", "test_ridge"),
    ("harness/ridge.py", "held = values.clamp_min(0).cumsum(0)", "held = values.flip(0).clamp_min(0).cumsum(0)", "test_ridge"),
    ("harness/ridge.py", "return values.flip(0), vectors.flip(1)", "return values.flip(0), vectors", "test_ridge"),
    ("harness/ridge.py", "- 2 * fitted + size)", "- fitted)", "test_ridge"),
    ("harness/affine.py", "return self.mean_y + (x.double() - self.mean_x)", "return self.mean_y + x.double()", "test_affine"),
    ("harness/affine.py", "- 2 * self.mean_y @ sums.y +", "- self.mean_y @ sums.y +", "test_affine"),
    ("harness/affine.py", "- 2 * d @ linear + d @ quadratic @ d", "- d @ linear", "test_affine"),
    ("harness/affine.py", "train = total - fold", "train = total", "test_affine"),
    ("harness/affine.py", "sums.x.square() / sums.n).mean()", "sums.x.square()).mean()", "test_affine"),
    ("harness/typical.py", "mask[:, 0] = False", "pass", "test_typical"),
    ("harness/typical.py", "for stream in (before, after):", "for stream in (after,):", "test_typical"),
    ("harness/typical.py", "norm.median(dim=1, keepdim=True).values", "norm.mean(dim=1, keepdim=True)", "test_typical"),
    ("harness/statistics.py", "(count - 1) / count * np.sum(", "1 / count * np.sum(", "test_statistics"),
    ("harness/statistics.py", "min(len(rows) for rows in parts) - 1", "max(len(rows) for rows in parts) - 1", "test_statistics"),
    ("harness/statistics.py", "t.ppf((1 + level) / 2", "t.ppf(level", "test_statistics"),
    (
        "harness/statistics.py",
        "spearman(np.arange(len(values), dtype=np.float64), values)",
        "spearman(np.arange(len(values), dtype=np.float64), np.abs(values))",
        "test_statistics",
    ),
    ("harness/linearity.py", "return 1 - error / energy if", "return 1 - error / (2 * energy) if", "test_planted_linearity"),
    ("harness/linearity.py", "window * groups // windows for", "window % groups for", "test_planted_linearity"),
    (
        "harness/rank_linearity.py",
        "y = after.to(self._device).double() - x",
        "y = after.to(self._device).double()",
        "test_planted_linearity",
    ),
    ("harness/rank_linearity.py", ".total - (part if name", ".total + (part if name", "test_planted_linearity"),
    (
        "harness/rank_linearity.py",
        "share(other.squared_error(scored[name]), scored[name].energy)",
        "share(other.squared_error(rest), rest.energy)",
        "test_planted_linearity",
    ),
    (
        "harness/affine_linearity.py",
        "every_second = list(range(0, self._fitted.groups, 2))",
        "every_second = list(range(self._fitted.groups))",
        "test_planted_linearity",
    ),
    ("harness/affine.py", "best = int(errors.argmin())", "best = int(errors.argmax())", "test_planted_linearity"),
    ("harness/affine_linearity.py", "total - self._fitted.group(group), self._lam", "total, self._lam", "test_planted_linearity"),
    ("harness/affine_linearity.py", "(y - self._map.mean_y).square()", "y.square()", "test_planted_linearity"),
    ("harness/sweep.py", "streams[key] = after", "pass", "test_sweep"),
    ("harness/sweep.py", "bookmark.save(block + 1,", "bookmark.save(block,", "test_sweep"),
    ("harness/windows.py", "needed = count * fresh", "needed = count * size", "test_corpora"),
    ("harness/windows.py", "room * i // (count - 1)", "room * i // count", "test_corpora"),
    ("harness/store.py", "if _canonical(found) != _canonical(key):", "if False:", "test_store"),
    ("harness/store.py", "digest != _digest(header, arrays)", "False", "test_store"),
    ("harness/admission.py", "if not _equal(trace.outputs[b - 1], trace.inputs[b]):", "if False:", "test_anatomy"),
    ("harness/admission.py", "if gap > 2 *", "if gap > 1e9 *", "test_anatomy"),
    (
        "claims/verdicts.py",
        "return low - self.holds, self.falsified - high",
        "return high - self.holds, self.falsified - low",
        "test_verdicts",
    ),
    ("claims/claim.py", "return 1 - 0.05 / sum(judged in p.core", "return 1 - 0.05 * sum(judged in p.core", "test_verdicts"),
    ("claims/declared.py", "both(at_least(0.30, 0))", "both(at_least(0.10, 0))", "test_judgement"),
    ("claims/claim_4_linearity_grows_with_depth.py", "r2[-1] - r2[0]", "r2[-1] - r2[1]", "test_plugin"),
    ("reports/judgement.py", "not change <= most", "not change <= 10", "test_judgement"),
    ("reports/judgement.py", "times = 1 / factor**2", "times = 1 / factor", "test_judgement"),
    ("reports/judgement.py", "and not quick else None", "else None", "test_judgement"),
    (
        "reports/ledger.py",
        "(Verdict.FALSIFIED, Verdict.ERROR, Verdict.UNTESTED)",
        "(Verdict.ERROR, Verdict.FALSIFIED, Verdict.UNTESTED)",
        "test_verdicts",
    ),
    ("fixtures/selection.py", "holds(choice | names) and not holds(choice)", "holds(choice | names)", "test_selection"),
    ("fixtures/chat.py", "text.removeprefix(bos) if bos", "text if bos", "test_corpora"),
    ("fixtures/wikitext.py", 'row or " \\n"', "row", "test_hub::test_auto_takes_wikitext_when_the_hub_gives_it"),
    (
        "fixtures/hub.py",
        "if here is not None and unreachable():",
        "if here is not None:",
        "test_hub::test_a_cache_that_another_program_filled_is_completed",
    ),
    ("fixtures/safetensors_header.py", "if end != size - 8 - length:", "if False:", "test_bad_input"),
    ("harness/loading.py", "max(1, cores // workers)", "cores", "test_workers::test_workers_share_the_cores"),
    ("harness/loading.py", "% torch.cuda.device_count())", "% 1)", "test_workers::test_workers_take_the_gpus_in_turn"),
    (
        "harness/loading.py",
        "if model.bos is not (len(leading) > 0):",
        "if False:",
        "test_bad_input::test_a_tokenizer_that_is_not_the_registered_one_is_refused",
    ),
    (
        "harness/bench.py",
        '"tokenizer": self.tokenizer(model), ',
        "",
        "test_bad_input::test_a_swapped_tokenizer_is_not_taken_for_the_one_before",
    ),
    ("harness/layouts.py", "_MOST_UNKNOWN = 0.5", "_MOST_UNKNOWN = 2", "test_bad_input::test_text_in_another_script_is_too_little_text"),
    ("harness/loading.py", "    share_cores()\n    where", "    where", "test_workers::test_a_model_is_loaded_with_its_share_of_the_cores"),
    (
        "harness/measuring.py",
        '"text": self.splits.fingerprint,\n                "rendered"',
        '"text": "",\n                "rendered"',
        "test_plugin::test_two_corpora_are_two_tables",
    ),
    ("harness/subject.py", '"placement": asdict(placement), ', "", "test_bad_input::test_another_dtype_is_another_subject"),
    (
        "fixtures/hub_trouble.py",
        "done.wait(_CONNECT_SECONDS)",
        "done.wait()",
        "test_hub::test_a_network_that_does_not_answer_does_not_hold_us_up",
    ),
    ("harness/admission.py", "slack = 1e-4 if", "slack = 1e9 if", "test_anatomy"),
    ("reports/workers.py", "return self._model.get(ident) or str(", "return str(", "test_workers::test_every_model_is_loaded_once_in_all"),
    (
        "harness/subspaces.py",
        "(whitened / (x.values + lam).sqrt()[:, None])",
        "(whitened * (x.values + lam).sqrt()[:, None])",
        "test_subspaces",
    ),
    ("harness/subspaces.py", "x.vectors @ (x.values[:, None] * (x", "x.vectors @ (1.0 * (x", "test_subspaces"),
    ("harness/subspaces.py", "_scaled(cross, x, lam_x) * _inverse_root(y, lam_y)", "_scaled(cross, x, lam_x)", "test_subspaces"),
    ("harness/subspaces.py", "whitened[:k].square()", "whitened[-k:].square()", "test_subspaces"),
    ("harness/subspaces.py", "products - torch.outer(total, total) / n", "products", "test_subspaces"),
    ("harness/subspaces.py", "vectors[:, -k:].flip(1), values", "vectors[:, :k], values", "test_subspaces"),
    (
        "harness/interventions.py",
        "torch.where(marked[..., None], changed, self._elsewhere(hidden, windows))",
        "changed",
        "test_interventions",
    ),
    ("harness/interventions.py", "hidden - ((hidden - self.mean) @ self.basis)", "hidden - (hidden @ self.basis)", "test_interventions"),
    ("harness/interventions.py", "self.seed * 1_000_003 + window)", "self.seed)", "test_interventions"),
    ("harness/interventions.py", "torch.linalg.solve(inner, covariance_weights, left=False)", "covariance_weights", "test_interventions"),
    ("harness/branches.py", "if b > block and not", "if b >= block and not", "test_interventions"),
    (
        "harness/branches.py",
        "mine = [i for i, row in enumerate(rows) if row[0] == v]",
        "mine = list(range(len(rows)))",
        "test_interventions",
    ),
    ("harness/branches.py", "b > block and not _replaced(variants[v], b)", "b > block", "test_replaced"),
    ("harness/interventions.py", "take_hidden(args, kwargs)[0].clone()", "take_hidden(args, kwargs)[0]", "test_replaced"),
    ("harness/replaced.py", "return self.kept[list(windows)].to(hidden.device, hidden.dtype)", "return hidden", "test_replaced"),
    ("harness/replaced.py", "each(given[chosen].to(hidden.device).double())", "each(hidden)", "test_replaced"),
    ("harness/maps.py", "(y - fitted.centre).square()", "y.square()", "test_replacing"),
    ("harness/maps.py", "moments.total(everything[::2])", "moments.total(everything)", "test_replacing"),
    ("harness/maps.py", "vectors[:, : whole.rank].clone(), lam)", "vectors[:, : whole.rank].clone(), 2 * lam)", "test_replacing"),
    ("harness/kept_maps.py", 'rung in ("paper", "held-out")', 'rung == "paper"', "test_replacing"),
    ("harness/refitting.py", "marked[split], streams.at[block][split])", "None, streams.at[block][split])", "test_replacing"),
    ("harness/refitting.py", "marked[CALIBRATION], work", "None, work", "test_replacing"),
    ("harness/shifting.py", "group != g if self._in_sample", "group == g if self._in_sample", "test_replacing"),
    ("harness/shifting.py", "marked_at(streams, self._rung, self._split, *range(first, target))", "None", "test_replacing"),
    ("harness/replacing_runs.py", "typical_at(INTERVENTION, *run)", "typical_at(INTERVENTION, run[-1])", "test_replacing"),
    ("harness/replacing_runs.py", "[fits[b].whole], at=run)", "[fits[b].whole])", "test_replacing"),
    ("harness/refitting.py", "marked_at(streams, rung, split, *run)", "marked_at(streams, rung, split, run[-1])", "test_replacing"),
    ("harness/shifting.py", "self._split, *range(first, target))", "self._split, target - 1)", "test_replacing"),
    ("harness/anatomy.py", "or packed or stacked)", "or packed)", "test_replaced"),
    ("harness/sweep.py", "            visitor.restore({}, 0)\n", "            pass\n", "test_bringing"),
    ("harness/replacing_runs.py", "[fits[b].refits[g] for b in self._run]", "[fits[b].whole for b in self._run]", "test_replacing"),
    ("harness/replacing_each.py", '(None, None) if rung == "paper"', "(None, None) if True", "test_replacing"),
    ("harness/transferring.py", "sums[0][1].cpu()", "sums[-1][1].cpu()", "test_transfer"),
    ("harness/transfer.py", "1 + int(np.argmin(self.r2[1:]))", "int(np.argmin(self.r2))", "test_transfer"),
    ("harness/measuring.py", "if other.brings is measurement and", "if False and", "test_bringing"),
    ("harness/replacement.py", "if same_windows and r2.score is not None", "if False", "test_replacement_figures"),
    ("harness/replacement.py", "cost.mean() + change, without_each(cost)", "cost.mean(), without_each(cost)", "test_replacement_figures"),
    ("harness/replacement.py", "share(e, t) - share(f, u)", "share(e, t) - share(f, t)", "test_replacement_figures"),
    ("harness/language.py", "ids[:, 1:].copy()", "ids[:, :-1].copy()", "test_language"),
    ("harness/language.py", "p = torch.softmax(clean, -1)", "p = torch.softmax(self._logits(hidden[0, w, part]), -1)", "test_language"),
    ("harness/language.py", "b -= torch.linalg.vecdot(p, b)[:, None]", "b -= b.mean(-1, keepdim=True)", "test_language"),
    ("harness/language.py", "far = b.amax(-1) > _FAR", "far = b.amax(-1) > 1e9", "test_language"),
    ("harness/streams.py", "for block in blocks]).all(0)", "for block in blocks[:1]]).all(0)", "test_streams"),
    ("harness/spectra_sweep.py", "self._n[i] += len(rows)", "self._n[0] += len(rows)", "test_streams"),
    ("harness/statistics.py", "self.origin is not None and all(", "self.origin is not None and any(", "test_ratios"),
    ("harness/statistics.py", "(2 * np.arange(1, n + 1) - n - 1)", "(2 * np.arange(1, n + 1) - n)", "test_ratios"),
    ("harness/predictive.py", "if chosen.r2 > protocol.variance.least_r2 else", "if True else", "test_planted_variance"),
    ("harness/variance.py", "(float(o) - chance) / (1 - chance)", "float(o)", "test_planted_variance"),
    ("harness/variance.py", "float(r[0] - r[1:].mean())", "float(r[0])", "test_planted_variance"),
    ("harness/projection.py", "(dropped * pca.variance).sqrt()", "pca.variance.sqrt()", "test_planted_variance"),
    ("harness/projection.py", ".sqrt()) @ pca.vectors.T)", ".sqrt()))", "test_projection"),
    ("harness/directions.py", '"kl": kl[i + 1], "random"', '"kl": kl[0], "random"', "test_planted_variance"),
    ("harness/linear_block.py", "cache.update(empty, empty, self.cache_index)", "pass", "test_replaced_model"),
    ("harness/linear_block.py", "out = (x + each(x)).to(hidden.dtype)", "out = (hidden + each(x).to(hidden.dtype))", "test_replaced_model"),
    ("harness/fitting_maps.py", 'None if self._rung == "paper" else typical(', "None if True else typical(", "test_saved_maps"),
    ("harness/saving_maps.py", '"file": bench.memory.of_file(found.file),', "", "test_saved_maps"),
    ("harness/map_file.py", "return bool(read(file).about == json.loads(json.dumps(about)))", "return file.exists()", "test_map_files"),
    ("harness/replaced_model.py", "    if weights != expected:", "    if False:", "test_map_files"),
    ("harness/saved_model.py", "        if known == name:", "        if True:", "test_replaced_model"),
    ("harness/saved_model.py", "    quantizer.remove_quantization_config(model)", "    pass", "test_replaced_model"),
    ("harness/logit_change.py", "b = torch.linalg.solve(about.yy, about.xy.T @ a)", "b = about.xy.T @ a", "test_logit_change"),
    (
        "harness/logit_change.py",
        "_seen_through(rows, changes), _seen_through(on, changes)",
        "_seen_through(rows, changes), _seen_through(rows, changes)",
        "test_logit_change",
    ),
    ("harness/predictive.py", "streams.typical_at(s, mid, last) if", "streams.typical_at(s, mid) if", "test_variance_oracle"),
    ("harness/predictive.py", "system.diagonal().add_(fit.lam)", "system.diagonal().add_(0.0)", "test_variance_oracle"),
    ("harness/projection.py", "_Fitted.of(pca(total - moments.group(out)), k,", "_Fitted.of(pca(total), k,", "test_variance_oracle"),
    ("harness/logit_change.py", "kept[-1] = False", "kept[0] = False", "test_variance_oracle"),
    ("harness/variance.py", "kl[:, 1::2].mean(1)", "kl[:, ::2].mean(1)", "test_variance_remarks"),
    ("claims/variance.py", "kl < v.above_rounding * floor.mean()", "kl < floor.mean()", "test_variance_remarks"),
    (
        "reports/sections.py",
        "math.log10(value) - self._top + self._decades",
        "math.log10(value) + self._decades",
        "test_replacement_evidence",
    ),
    ("reports/depth_evidence.py", "guides.get(rung) or late.get(rung)", "guides.get(rung)", "test_replacement_evidence"),
    ("reports/replacement_evidence.py", "_less(free, forced), free", "_less(free, total), free", "test_replacement_evidence"),
]


def survives(file: str, line: str, broken: str, tests: str) -> bool:
    """Apply one mutation to a copy and say whether the tests still pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "report.json", "*.egg-info"))
        text = (copy / file).read_text()
        if text.count(line) != 1:
            raise SystemExit(f"{file}: the line to break occurs {text.count(line)} times: {line}")
        (copy / file).write_text(text.replace(line, broken))
        module, _, test = tests.partition("::")
        target = f"tests/{module}.py" + (f"::{test}" if test else "")
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", target]
        return subprocess.run(command, cwd=copy, env=alone, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Try every mutation; print what each did. One passes when a test catches it."""
    left = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for alive, (file, line, broken, _) in zip(pool.map(lambda mutation: survives(*mutation), MUTATIONS), MUTATIONS, strict=True):
            left += alive
            print(f"{'SURVIVED' if alive else 'caught  '}  {file}: {line.strip()}  →  {broken.strip()}", flush=True)
    print(f"mutations: {len(MUTATIONS) - left} passed, {left} failed")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
