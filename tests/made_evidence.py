"""Made-up evidence and rows of one small report: something for every plot, few enough numbers to be checked by eye."""

from __future__ import annotations

from typing import Any

from claims import Bound, Verdict
from reports.document import Document
from reports.ledger import Cell, Row

MODEL, TEXT, OTHER = "tiny", "prose", "code"
EVIDENCE: dict[str, Any] = {
    "projection_ppl_ratio/strict": {
        "baseline": 10,
        "projected": 20,
        "k": [2, 8],
        "perplexity": {"pca": [40, 15], "random": [400, 100], "predictive": [30, 25]},
    },
    "subspace_overlap/paper": {
        "chance": 0.1,
        "ridge": {"0.01 λ": 0.15, "1 λ": 0.2},
        "weights": 0.2,
        "patterns": 0.5,
        "whitened": 0.4,
        "self_overlap": 0.7,
        "random": {"weights": [0.01, 0, 0.02], "patterns": [0.3, 0.25, 0.4]},
    },
    "variance_ranks_importance/strict": {"rank": [0, 3], "variance": [8, 2], "kl": [0.5, 0.1]},
    "predictive_gain/paper": {"k": [2, 4], "pca": [0.2, 0.4], "cca": [0.3, 0.5], "rrr": [0.35, None]},
    "sensitivity_gini/strict": {"rank": [0, 3], "variance": [8, 2], "sensitivity": [0.2, 0.4], "random": [0.1, 0.3], "norm": 1},
    "logit_change_correlation/strict": {"ablated": 32, "correlation": 0.9, "random": [0.5, 0.75, 0.7]},
    "dimensions_90/paper": {"block": 1, "shares": [0.5, 0.25, 0.125, 0.125]},
    "r2_lost/paper": {"curves": {"2": {"clean": 0.9, "shifted": [0.8, 0.6]}}},
    "single_replacement/strict": {"baseline": 10, "perplexity": {"last": 12, "other": 11, "last skipped": 80, "last mean": 40}},
    "compression/paper": {"total": 3000, "active": 3000, "map": 200, "other": 600},
    "multi_replacement/paper": {
        "baseline": 10,
        "runs": {
            "last": {"blocks": [1, 2], "perplexity": {"maps": 30, "skipped": 900, "mean outputs": 200, "refitted one after another": 25}},
            "middle": {"blocks": [1], "perplexity": {"maps": 11, "the same maps at true inputs": 12}},
        },
    },
    "shift_excess/paper": {"free": 1.5, "forced": 1.2, "alone": [0.25, 0.5], "blocks": [1, 2]},
    "transfer/paper": {"sources": [TEXT, OTHER], "r2": [0.9, 0.5], "added": [1, 4]},
    "wall_dct/paper": {
        "methods": {
            "dct": {
                "own": {"output": [0.5, 0.4, 0.6], "layers": 4},
                "by_block": {"0": 0.4, "1": 1.5},
                "exceptions": {"block 0 mlp.up": 0.4, "block 1 mlp.up": 0.5, "block 0 attn.q": 0.9},
            }
        }
    },
    "wall_svd/paper": {"methods": {"svd": {"own": {"output": [2, 1.5, 3]}}}},
    "cross_terms/paper": {"parts": {"truncation": 1.5, "cross": 0.5, "product": 0.1, "total": 2}},
    "downstream/paper": {
        "baseline": 10,
        "variants": {"direct": {"perplexity": 20, "low": 15, "high": 25}, "mine": {"perplexity": 16, "label": "<b>mine</b>"}},
    },
    "r2_guides/strict": {
        "baseline": 10,
        "kl": [0.4, 0.1, 0.05],
        "r2": [0.3, 0.6, 0.9],
        "cost_map": [0.5, 0.2, 0.1],
        "cost_skipped": [2, 0.1, 3],
        "cost_mean": [1, 0.3, 2],
    },
    "importance_u_shape/strict": {
        "kl": {"both": [2, 1, 4], "attention": [1.5, 0.25, 3], "mlp": [0.5, 0.5, 1]},
        "middle": [1, 1],
        "median": 1,
    },
    "exit_agreement/strict": {
        "exits": [1, 2],
        "naive": [0.1, 0.25],
        "trained": {"1": 0.3},
        "bigram": 0.2,
        "half": 0.28,
        "curve": {"steps": [0, 50, 100], "train": [None, 5, 3], "nll": [9, 6, 7], "agreed": [0.05, 0.2, 0.3]},
    },
    "exit_excess/strict": {"lowest": 0.15},
    "kl_easy_share/paper": {
        "blocks": [2, 3],
        "medians": [0.5, 2],
        "share": 0.28,
        "chance": 0.25,
        "taus": [0.01, 1],
        "curve": [0.1, 0.6],
    },
    "easy_sets_agree/strict": {
        "odds": 1.5,
        "crude": 3,
        "strata": [{"low": 0, "high": 0.5, "odds": 0}, {"low": 0.5, "high": 1, "odds": 2}],
    },
    "routing_cost/paper": {
        "exits": [1, 2],
        "baseline": 10,
        "trained": {"1": 0.3, "2": 0.5},
        "rows": [
            {"threshold": 0.95, "perplexity": 12, "random": 20, "saved": 0.1, "saved_with_heads": -0.3},
            {"threshold": 0.5, "perplexity": 40, "random": None, "saved": 0.4, "saved_with_heads": 0.25},
        ],
        "calibration": {"1": {"error": 0.2, "bins": [{"tokens": 5, "confidence": 0.25, "right": 0.3}, {"confidence": 0.75, "right": 0.5}]}},
    },
    "spectral_gini_excess/paper": {
        "gini": [0.64, 0.6, 0.7],
        "shuffled": [0.63, 0.62, 0.64],
        "excess": [0.01, -0.02, 0.08],
        "energy": [0.7, 0.6, 0.8],
        "by_block": {"0": 0.02, "1": 0.005},
    },
    "spectral_gini_excess_embeddings/paper": {"gini": [0.8, 0.75, 0.85], "shuffled": [0.6, 0.55, 0.65], "excess": [0.2, 0.2, 0.2]},
    "kmeans_gain/strict": {"methods": {"kmeans": {"own": {"output": [0.5, 0.4, 0.8]}}}},
    "nf4_gain/strict": {"methods": {"nf4": {"grouped": {"output": [0.8, 0.5, 1]}}}},
    "mlp_skip/strict": {"skipped": 90, "mean": 40, "baseline": 10},
}
_BOUND = Bound(0.8, 0.5)
_WITHOUT_EVIDENCE = ("strictly", "head_gain", "late_is_cheap", "phase_profile", "mlp_mean", "supervision", "lora_gain", "compounding")
_R2 = {"paper": [(0.4, 0.35, 0.45), (0.7, 0.65, 0.75), (0.9, 0.85, 0.95)], "strict": [(0.3, 0.2, 0.4), (0.2, 0.1, 0.3), (0.6, 0.45, 0.75)]}
_DIMENSIONS = {"90": [2.0, 1.0, 3.0], "95": [3.0, 2.0, 4.0], "99": [5.0, 4.0, 6.0]}


def row(predicate: str, rung: str, block: int | None = None, **rest: Any) -> Row:
    """Return a row of the small report, MEASURED unless said otherwise."""
    given = {"verdict": Verdict.MEASURED, "unit": "ratio", "core": False, **rest}
    return Row(Cell(MODEL, TEXT, 2, predicate, rung, block), **given)


def rows() -> list[Row]:
    """Return rows for all the evidence, and R² and dimensions of every block."""
    found = [row(*key.split("/")) for key in EVIDENCE]
    found += [row(name, "strict") for name in (*_WITHOUT_EVIDENCE, "dimensions_95", "dimensions_99", "depth_trend")]
    for rung, figures in _R2.items():
        for block, (value, low, high) in enumerate(figures):
            bound = _BOUND if block == 2 else None
            verdict = (Verdict.HOLDS if rung == "paper" else Verdict.INCONCLUSIVE) if bound else Verdict.MEASURED
            found.append(row("r2", rung, block, value=value, low=low, high=high, bound=bound, verdict=verdict, unit="R²"))
    for share, counts in _DIMENSIONS.items():
        found += [row(f"dimensions_{share}", "typical", block, value=count, unit="PCs") for block, count in enumerate(counts)]
    return found


def document(evidence: Any = EVIDENCE, of: list[Row] | None = None) -> Document:
    """Return the small report, over two texts: another's maps are scored on the first, and nothing else is known of it."""
    beside = {"transfer/paper": {"sources": [OTHER, TEXT], "r2": [0.8, -0.25], "added": [1, 4]}}
    contents = {"evidence": {f"{MODEL}/{TEXT}": evidence, f"{MODEL}/{OTHER}": beside}}
    return Document("small", contents, tuple(rows() if of is None else of), (), {(MODEL, TEXT): 3, (MODEL, OTHER): 3})
