"""The extended experiments of §5: how concentrated weights are, what codebooks gain, which side of a block matters where."""

from claims import destruction, wall
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


@CLAIM.predicate("phase_profile")
def test_phases_of_depth(rung, lab, verdict):
    """How many runs of blocks there are in which attention, MLP or neither dominates when each is destroyed apart."""
    hand_over(verdict, destruction.phases(lab, rung))


@CLAIM.predicate("mlp_skip")
def test_the_last_mlp_skipped(rung, lab, verdict):
    """Perplexity added by the last block without what its MLP writes."""
    hand_over(verdict, destruction.mlp(lab, rung, "skipped"))


@CLAIM.predicate("mlp_mean")
def test_the_mean_output_of_the_last_mlp(rung, lab, verdict):
    """Perplexity added by the mean of what the last MLP writes, in its place."""
    hand_over(verdict, destruction.mlp(lab, rung, "mean"))
