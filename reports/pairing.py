"""Which models and texts of one side are those of another, although names made from paths change with their content."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Pair = tuple[str, str]


def matched(ours: Iterable[Pair], theirs: Iterable[Pair], brief: Callable[[str], str]) -> dict[Pair, Pair]:
    """Match pairs (model, corpus): by whole names, then by the ``brief`` name of the text, of the model, of both, where only one fits.

    What still has a whole name goes first: of two models that share a brief name, one may have kept its content. Returns ours → theirs,
    in the order of ours.
    """
    left, open_pairs = list(dict.fromkeys(theirs)), list(dict.fromkeys(ours))
    order, found = list(open_pairs), dict[Pair, Pair]()
    for model_whole, corpus_whole in ((True, True), (True, False), (False, True), (False, False)):

        def key(pair: Pair, model_whole: bool = model_whole, corpus_whole: bool = corpus_whole) -> Pair:
            return pair[0] if model_whole else brief(pair[0]), pair[1] if corpus_whole else brief(pair[1])

        mine, others = [key(pair) for pair in open_pairs], [key(pair) for pair in left]
        for pair in list(open_pairs):
            if mine.count(key(pair)) == others.count(key(pair)) == 1:
                found[pair] = next(other for other in left if key(other) == key(pair))
                open_pairs.remove(pair)
                left.remove(found[pair])
    return {pair: found[pair] for pair in order if pair in found}
