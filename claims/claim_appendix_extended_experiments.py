"""The extended experiments of §5: how concentrated weights are, and what codebooks gain."""

from claims import wall
from claims.declared import APPENDIX as CLAIM
from claims.remarks import hand_over


@CLAIM.predicate("spectral_gini_excess")
def test_layers_are_more_concentrated_than_shuffled(rung, lab, verdict):
    """Gini of the squared cosine coefficients of layers, minus that of the same entries shuffled."""
    hand_over(verdict, wall.concentration(lab, rung, embeddings=False))


@CLAIM.predicate("spectral_gini_excess_embeddings")
def test_embeddings_are_more_concentrated_than_shuffled(rung, lab, verdict):
    """The same of the embeddings, and of the head where it has weights of its own."""
    hand_over(verdict, wall.concentration(lab, rung, embeddings=True))


@CLAIM.predicate("kmeans_gain")
def test_k_means_beats_uniform_levels(rung, lab, verdict):
    """Output error of uniform levels over that of k-means with 16 levels, at as many stored bits."""
    hand_over(verdict, wall.codebook(lab, rung, "kmeans"))


@CLAIM.predicate("nf4_gain")
def test_nf4_beats_uniform_levels(rung, lab, verdict):
    """Output error of uniform levels over that of NF4, at as many stored bits."""
    hand_over(verdict, wall.codebook(lab, rung, "nf4"))
