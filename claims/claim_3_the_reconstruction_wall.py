"""Claim 3: quantising a factored or transformed weight matrix loses to quantising the matrix itself."""

from claims import wall
from claims.declared import WALL as CLAIM
from claims.remarks import hand_over


@CLAIM.predicate("wall_dct")
def test_direct_beats_the_cosine_transform(rung, lab, verdict):
    """Output error of the quantised two-dimensional DCT over direct quantisation."""
    hand_over(verdict, wall.of_method(lab, rung, lab.arena(rung), "dct"))


@CLAIM.predicate("wall_svd")
def test_direct_beats_factors(rung, lab, verdict):
    """Output error of two quantised SVD factors with as many entries over direct quantisation."""
    hand_over(verdict, wall.of_method(lab, rung, lab.arena(rung), "svd"))


@CLAIM.predicate("wall_random")
def test_direct_beats_mixed_bits_in_a_random_basis(rung, lab, verdict):
    """Output error with INT8 on a third of the axes of a random basis and INT2 on the rest, over direct quantisation."""
    hand_over(verdict, wall.of_method(lab, rung, lab.arena(rung), "random"))


@CLAIM.predicate("wall_pca")
def test_direct_beats_mixed_bits_in_the_pcs(rung, lab, verdict):
    """The same in the PCs of the layer's inputs."""
    hand_over(verdict, wall.of_method(lab, rung, lab.arena(rung), "pca"))


@CLAIM.predicate("wall_cca")
def test_direct_beats_mixed_bits_in_the_canonical_basis(rung, lab, verdict):
    """The same in the canonical basis of the layer's inputs and its block's contribution."""
    hand_over(verdict, wall.of_method(lab, rung, lab.arena(rung), "cca"))


@CLAIM.predicate("strictly")
def test_no_layer_and_method_beats_direct(rung, lab, verdict):
    """The layer and method that comes nearest to beating direct quantisation: "strictly superior" means that none does."""
    hand_over(verdict, wall.strictly(lab, rung))


@CLAIM.predicate("cross_terms")
def test_cross_terms_exceed_the_direct_error(rung, lab, verdict):
    """Output error of ε_A B + A ε_B over that of direct quantisation (Eq. 4)."""
    hand_over(verdict, wall.cross_terms(lab, rung))


@CLAIM.predicate("challenger_rotation")
def test_direct_beats_a_random_rotation(rung, lab, verdict):
    """Output error of INT4 in a random orthogonal basis over direct quantisation; challengers from outside stand beside it."""
    found = lab.arena(rung)
    hand_over(verdict, wall.of_method(lab, rung, found, "rotation", wall.entered(found)))


@CLAIM.predicate("challenger_hadamard")
def test_direct_beats_a_hadamard_rotation(rung, lab, verdict):
    """Output error of INT4 after a Hadamard rotation of the inputs over direct quantisation."""
    hand_over(verdict, wall.of_method(lab, rung, lab.arena(rung), "hadamard"))


@CLAIM.predicate("challenger_gptq_factors")
def test_gptq_on_the_weight_beats_gptq_on_factors(rung, lab, verdict):
    """Output error of GPTQ on both SVD factors over GPTQ on the weight; GPTQ over direct quantisation stands beside it."""
    hand_over(verdict, wall.of_method(lab, rung, lab.challenged(rung), "gptq_factors", ("gptq",)))


@CLAIM.predicate("downstream")
def test_perplexity_with_all_layers_quantised(rung, lab, verdict):
    """Perplexity with every linear layer of every block quantised directly; every other method stands beside it."""
    hand_over(verdict, wall.downstream(lab, rung))
