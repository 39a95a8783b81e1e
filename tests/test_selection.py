"""Which models ``-m`` asks for, and that expressions are read as pytest reads them."""

from __future__ import annotations

import pytest
from _pytest.mark.expression import Expression
from hypothesis import given
from hypothesis import strategies as st

from fixtures import MODELS
from fixtures.selection import _parse, asked_for, words

ALL = set(MODELS)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", {"smollm2"}),
        ("claim4", {"smollm2"}),
        ("mistral", {"mistral"}),
        ("mistral and strict", {"mistral"}),
        ("smollm2 or mistral", {"smollm2", "mistral"}),
        ("llama_family and strict", {"smollm2", "llama", "llama-3.2-3b", "tinyllama"}),
        ("llama_family and not smollm2", {"llama", "llama-3.2-3b", "tinyllama"}),
        ("llama", {"llama"}),
        ("qwen2.5-0.5b", {"qwen2.5-0.5b"}),
        ("not mistral", {"smollm2"}),
        ("not (mistral or gpt2) and claim4", {"smollm2"}),
        ("not smollm2", set()),
        ("claim4 or mistral", {"smollm2", "mistral"}),
        ("claim1 and (claim2 or gpt2)", {"smollm2", "gpt2"}),
    ],
)
def test_only_models_that_are_named_are_asked_for(expression, expected):
    """A model costs gigabytes: ``not mistral`` is no wish for all the others."""
    assert {model.name for model in asked_for(expression, MODELS, "smollm2")} == expected


def test_an_expression_of_many_words_is_not_searched():
    """Then every model is collected, and pytest selects among their cells."""
    expression = " or ".join(["mistral", *(f"w{i}" for i in range(20))])
    assert {model.name for model in asked_for(expression, MODELS, "smollm2")} == ALL


def expressions():
    """Return expressions over five names."""
    names = st.sampled_from(["a", "b", "c-1", "d.2", "e_f"])
    return st.recursive(
        names,
        lambda inner: st.one_of(
            inner.map(lambda x: f"not {x}"),
            inner.map(lambda x: f"({x})"),
            st.tuples(inner, inner).map(" and ".join),
            st.tuples(inner, inner).map(" or ".join),
        ),
        max_leaves=12,
    )


@given(expressions(), st.sets(st.sampled_from(["a", "b", "c-1", "d.2", "e_f"])))
def test_expressions_mean_what_they_mean_to_pytest(expression, held):
    """The same truth for every choice of names."""
    assert _parse(expression)(held) is Expression.compile(expression).evaluate(lambda name, **_: name in held)
    assert set(words(expression)) <= {"a", "b", "c-1", "d.2", "e_f"}


@given(st.text(alphabet="ab()not rd.-", max_size=30))
def test_what_is_no_expression_is_left_to_pytest(text):
    """No exception, no endless loop."""
    _parse(text)({"a"})
