"""Claim 5: about 30% of tokens are decided by the middle of the model."""

from claims import destruction, easy, easy_sets, routing
from claims.declared import EASY as CLAIM
from claims.remarks import hand_over


@CLAIM.predicate("exit_agreement")
def test_a_head_at_mid_says_what_the_model_says(rung, lab, verdict):
    """Top-1 agreement of a head trained at mid with the whole model."""
    hand_over(verdict, easy.exit_agreement(lab, rung))


@CLAIM.predicate("exit_excess")
def test_it_does_so_better_than_a_bigram_table(rung, lab, verdict):
    """Agreement minus that of the better control: a bigram table of the model's own words, and a head on the embeddings."""
    hand_over(verdict, easy.exit_excess(lab, rung))


@CLAIM.predicate("kl_easy_share")
def test_tokens_that_no_late_block_matters_to(rung, lab, verdict):
    """Share of tokens whose KL is below the median for each late block destroyed alone."""
    hand_over(verdict, destruction.easy_share(lab, rung))


@CLAIM.predicate("easy_sets_agree")
def test_both_criteria_find_the_same_tokens(rung, lab, verdict):
    """Odds ratio of the two criteria, within deciles of the whole model's confidence."""
    hand_over(verdict, easy_sets.easy_sets_agree(lab, rung))


@CLAIM.predicate("routing_cost")
def test_leaving_early_costs_perplexity(rung, lab, verdict):
    """ΔPPL/PPL when tokens leave at the first head that is 95% sure."""
    hand_over(verdict, routing.routing_cost(lab, rung))


@CLAIM.predicate("head_gain")
def test_training_the_head_gains_agreement(rung, lab, verdict):
    """Agreement of the trained head at mid minus that of the model's own norm and head."""
    hand_over(verdict, easy.head_gain(lab, rung))


@CLAIM.predicate("supervision")
def test_the_text_teaches_better_than_the_model(rung, lab, verdict):
    """Agreement of the head trained to the text minus that of one distilled from the model."""
    hand_over(verdict, easy.supervision(lab, rung))


@CLAIM.predicate("lora_gain")
def test_a_lora_beside_the_head_gains_agreement(rung, lab, verdict):
    """Agreement of a head trained together with a LoRA in the blocks minus that of the head alone."""
    hand_over(verdict, easy.lora_gain(lab, rung))
