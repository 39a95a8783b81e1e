"""Claim 1: the directions in which activations vary most are not those that predict the output."""

from claims import variance
from claims.declared import VARIANCE as CLAIM


@CLAIM.predicate("projection_ppl_ratio")
def test_keeping_the_high_variance_directions_is_costly(rung, lab, verdict):
    """Perplexity after projection onto the PCs with 90% of variance; on strict, its cost over that of noise of the dropped variance."""
    found = lab.projection(rung)
    verdict(found.over_noise if rung == "strict" else found.perplexity_ratio, **variance.of_projection(lab, rung))


@CLAIM.predicate("subspace_overlap")
def test_predictive_directions_are_not_the_high_variance_ones(rung, lab, verdict):
    """Overlap of the top PCs at mid with the directions that predict the final stream; on strict, beyond chance."""
    verdict(variance.overlap(lab, rung), **variance.of_overlap(lab, rung))


@CLAIM.predicate("variance_ranks_importance")
def test_variance_does_not_rank_importance(rung, lab, verdict):
    """Spearman's correlation of a PC's variance with the KL of ablating it: the title, tested."""
    verdict(lab.ablation(rung).rank_correlation, **variance.of_ablation(lab, rung))


@CLAIM.predicate("predictive_gain")
def test_predictive_directions_predict_more_than_as_many_pcs(rung, lab, verdict):
    """Held-out R² of the final stream from k canonical directions over that from k PCs, at the k where they differ least."""
    verdict(variance.gain(lab, rung), **variance.of_gain(lab, rung))


@CLAIM.predicate("sensitivity_gini")
def test_all_directions_are_about_equally_sensitive(rung, lab, verdict):
    """Inequality, over PCs, of the KL of a push of fixed norm."""
    verdict(lab.sensitivity(rung).inequality, **variance.of_sensitivity(lab, rung))


@CLAIM.predicate("logit_change_correlation")
def test_scores_on_ablated_pcs_do_not_correlate_with_the_change_of_logits(rung, lab, verdict):
    """The falsifier that a reviewer named; on strict, beyond what random subspaces give."""
    found = lab.logit_change(rung)
    verdict(found.excess if rung == "strict" else found.correlation, **variance.of_logit_change(lab, rung))


@CLAIM.predicate("dimensions_90")
def test_few_components_hold_90_percent(block, rung, lab, verdict):
    """How many PCs hold 90% of the variance of a block's output."""
    verdict(variance.dimensions(lab, rung, block, 0.90), **variance.of_dimensions(lab, rung, block))


@CLAIM.predicate("dimensions_95")
def test_few_components_hold_95_percent(block, rung, lab, verdict):
    """How many PCs hold 95% of the variance of a block's output."""
    verdict(variance.dimensions(lab, rung, block, 0.95))


@CLAIM.predicate("dimensions_99")
def test_few_components_hold_99_percent(block, rung, lab, verdict):
    """How many PCs hold 99% of the variance of a block's output."""
    verdict(variance.dimensions(lab, rung, block, 0.99))
