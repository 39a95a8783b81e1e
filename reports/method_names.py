"""What the ways to store weights are called where they are shown (claim 3, appendix)."""

from __future__ import annotations

METHOD_NAMES = {
    "direct": "direct INT4",
    "dct": "DCT",
    "svd": "SVD factors",
    "random": "INT8/INT2, random basis",
    "pca": "INT8/INT2, PCA basis",
    "cca": "INT8/INT2, CCA basis",
    "rotation": "random rotation",
    "hadamard": "Hadamard rotation",
    "gptq": "GPTQ",
    "gptq_factors": "GPTQ on SVD factors",
    "kmeans": "k-means",
    "nf4": "NF4",
    "symmetric": "symmetric INT4",
}
