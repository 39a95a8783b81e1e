"""Corpora are read, named, split and refused as documented."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import CORPORA, CorpusError, NoTextError, Splits, chat, hub, pydocs, wikitext
from fixtures.corpora import choose
from fixtures.text_files import corpus_at
from harness.errors import TextError
from harness.windows import contiguous, evenly_spaced, leading_tokens, tokenise
from tests.planted import tokenizer, words


def test_pydocs_is_prose_without_markup_and_without_leakage():
    """Sentences only, no table or markup left, and no paragraph on both sides."""
    splits = CORPORA["pydocs"].read()
    sides = [side.strip().split("\n\n") for side in (splits.calibration, splits.evaluation)]
    assert all(len(side) > 150 for side in sides)
    assert not set(sides[0]) & set(sides[1])
    for paragraph in sides[0] + sides[1]:
        assert "\n" not in paragraph
        assert "::=" not in paragraph
        assert "***" not in paragraph
        assert not paragraph.startswith(("|", "+-", ">>>", "* "))
    share = sum(c.isalpha() or c.isspace() for c in splits.calibration) / len(splits.calibration)
    assert share > 0.9


def test_pydocs_reads_the_same_twice_and_names_its_python():
    """Fixed splits; the edition says which Python."""
    import platform

    assert CORPORA["pydocs"].read().fingerprint == CORPORA["pydocs"].read().fingerprint
    assert platform.python_version() in CORPORA["pydocs"].edition


def test_prose_is_cut_out_of_documentation():
    """Headings, grammar, code and tables go; wrapped sentences are joined; inline markup is dropped."""
    topic = (
        'The "for" statement\n*******************\n\n'
        'The "for" statement is used to *iterate* over the\nelements of a sequence that is not empty.\n\n'
        '   for_stmt ::= "for" target_list "in" starred_list ":" suite\n\n'
        "   for i in range(10):\n       print(i)\n\n"
        "+----+----+\n| a  | b  |\n+----+----+\n\n"
        "Changed in version 3.11: Starred elements are now allowed in the expression list."
    )
    assert pydocs.prose(topic) == [
        "The for statement is used to iterate over the elements of a sequence that is not empty.",
        "Starred elements are now allowed in the expression list.",
    ]


def test_auto_without_network_takes_the_text_of_every_python_and_says_why():
    """The choice is never silent, and is made without a download where none is wanted."""
    for fetch in (True, False):
        corpus, why = choose("auto", fetch=fetch)
        assert corpus.name == "pydocs"
        assert "auto: wikitext-2 cannot be had (" in why


def test_code_is_the_standard_library_split_by_module():
    """Whole modules, none on both sides, as they stand; not one place in the alphabet alone."""
    import dataclasses
    import inspect
    import textwrap

    splits = CORPORA["code"].read()
    whole = inspect.getsource(textwrap).strip(), inspect.getsource(dataclasses).strip()
    for source in whole:
        assert (source in splits.calibration) != (source in splits.evaluation)
    assert splits.fingerprint == CORPORA["code"].read().fingerprint
    assert min(len(splits.calibration), len(splits.evaluation)) > 1_000_000
    for side in (splits.calibration, splits.evaluation):
        assert len(re.findall(r"^def \w+\(", side, re.MULTILINE)) > 500


def test_code_that_is_not_there_is_said(monkeypatch, tmp_path):
    """A Python without its sources."""
    import sysconfig

    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match="came without its library's sources"):
        CORPORA["code"].read()


def test_conversations_are_whole_and_nobodys_twice():
    """Six areas of twenty; turns alternate from user to assistant; no message stands twice; neither side holds the other's."""
    areas = chat.conversations()
    assert {name: len(found) for name, found in areas.items()} == dict.fromkeys(
        ("computing", "everyday", "language", "science", "society", "work"), 20
    )
    ids = [c["id"] for found in areas.values() for c in found]
    assert len(set(ids)) == len(ids)
    messages = [c["messages"] for found in areas.values() for c in found]
    for conversation in messages:
        assert [m["role"] for m in conversation] == ["user", "assistant"] * (len(conversation) // 2)
        assert all(m["content"].strip() == m["content"] != "" for m in conversation)
    contents = [m["content"] for conversation in messages for m in conversation]
    assert len(set(contents)) == len(contents)
    calibration, evaluation = (json.loads(side) for side in chat.splits())
    assert (len(calibration), len(evaluation)) == (66, 54)
    assert not {c[0]["content"] for c in calibration} & {c[0]["content"] for c in evaluation}


CHATML = (
    "{% for m in messages %}{{ bos_token }}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now(format='%d %b %Y') }} {{ date_string }}"
)


def test_chat_is_rendered_by_the_tokenizers_template():
    """A date that a template prints is always the same; a BOS before a conversation goes only where windows bring their own."""
    conversations = json.dumps([[{"role": "user", "content": "hi"}], [{"role": "user", "content": "ho"}]])
    plain = tokenizer()
    plain.chat_template = CHATML
    plain.bos_token = "w7"
    date = "2026-01-01 01 Jan 2026 01 Jan 2026"
    expected = f"w7<user>hi{date}\nw7<user>ho{date}\n"
    assert chat.render(plain, conversations, "m") == expected
    from tokenizers.processors import TemplateProcessing

    plain.backend_tokenizer.post_processor = TemplateProcessing(single="w7 $A", special_tokens=[("w7", 7)])
    assert chat.render(plain, conversations, "m") == expected.replace("w7", "")
    plain.chat_template = "\n<{{ messages[0].content }}>"  # What a template begins with is kept as it is.
    assert chat.render(plain, conversations, "m") == "\n<hi>\n\n<ho>\n"


def test_chat_without_a_template_is_refused():
    """A base model has none; a template that fails is named."""
    plain = tokenizer()
    with pytest.raises(NoTextError, match="of m has no chat template, as that of a base model; take an instruct model"):
        chat.render(plain, "[]", "m")
    plain.chat_template = "{{ raise_exception('no such role') }}"
    with pytest.raises(CorpusError, match=r"the chat template of .* fails .*no such role"):
        chat.render(plain, '[[{"role": "user", "content": "hi"}]]', "m")


@pytest.mark.parametrize(
    ("names", "calibration"),
    [
        (["train.txt", "valid.txt", "test.txt"], "train.txt"),
        (["valid.txt", "test.txt"], "valid.txt"),
        (["wiki.valid.tokens", "wiki.test.tokens"], "wiki.valid.tokens"),
        (["validation.md", "test.md"], "validation.md"),
    ],
)
def test_a_folder_calibrates_on_train_else_valid(tmp_path, names, calibration):
    """The first split calibrates, test evaluates."""
    for name in names:
        (tmp_path / name).write_text(f"text of {name}")
    found = corpus_at(str(tmp_path))
    assert found.read().calibration == f"text of {calibration}"
    assert "test" in found.read().evaluation
    assert calibration in found.splitting


def test_one_file_is_split_60_40_at_a_line(tmp_path):
    """60% by characters, moved back to a line's end; nothing is lost."""
    file = tmp_path / "Some Text.txt"
    file.write_text("".join(f"line {i:03d}\n" for i in range(100)))
    splits = corpus_at(str(file)).read()
    assert splits.calibration + splits.evaluation == file.read_text()
    assert splits.calibration.endswith("line 059\n")


def test_names_carry_content_so_that_editions_are_not_mistaken(tmp_path):
    """Two folders of one name and different text have different names, and neither is the registered corpus."""
    found = []
    for i in range(2):
        folder = tmp_path / str(i) / "pydocs"
        folder.mkdir(parents=True)
        (folder / "train.txt").write_text(f"text {i}")
        (folder / "test.txt").write_text("test")
        found.append(corpus_at(str(folder)))
    assert found[0].name.startswith("pydocs-")
    assert len({found[0].name, found[1].name, "pydocs"}) == 3
    assert found[0].read().fingerprint != found[1].read().fingerprint


def test_fingerprints_separate_the_splits():
    """Moving text across the split changes the fingerprint."""
    assert Splits("ab", "c").fingerprint != Splits("a", "bc").fingerprint


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: (p / "x.txt").write_bytes(b"\x80\x81abc"), "binary or another encoding"),
        (lambda p: (p / "x.txt").write_bytes(b"abc\0def"), "NUL byte at offset 3"),
        (lambda p: (p / "x.txt").write_text(" \n"), "empty"),
        (lambda p: (p / "x.txt").write_text("a"), "too little text"),
    ],
)
def test_bad_files_are_refused(tmp_path, make, message):
    """What was found, what was expected."""
    make(tmp_path)
    with pytest.raises(CorpusError, match=message):
        corpus_at(str(tmp_path / "x.txt"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train.txt"], "no test file"),
        (["test.txt"], "no train or valid file"),
        ([], "found no text files"),
        (["a.train.txt", "b.train.txt", "test.txt"], "several files for one split"),
        (["latest.txt", "training.txt"], "no train or valid"),
    ],
)
def test_bad_folders_are_refused(tmp_path, names, message):
    """A folder without both splits, or with two candidates for one."""
    for name in names:
        (tmp_path / name).write_text("text")
    with pytest.raises(CorpusError, match=message):
        corpus_at(str(tmp_path))


def test_an_unknown_name_is_corrected():
    """A typing error is answered with the nearest name; control characters are not echoed."""
    with pytest.raises(CorpusError, match="did you mean 'pydocs'"):
        choose("pydoc")
    with pytest.raises(CorpusError, match=r"\\x1b\[31mred: neither a corpus of the suite nor an existing path") as caught:
        choose("\x1b[31mred")
    assert "\x1b" not in str(caught.value)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 20), st.integers(0, 1))
def test_windows_are_contiguous_from_the_start(count, size, leading):
    """With BOS every window opens with it and the text goes on where the last window stopped."""
    head = [99] * leading
    ids = np.arange(count * (size - leading) + 3)
    windows = contiguous(ids, count, size, head, "the split")
    assert windows.shape == (count, size)
    assert (windows[:, :leading] == 99).all()
    assert windows[:, leading:].ravel().tolist() == list(range(count * (size - leading)))


def test_too_little_text_names_tokens_found_and_needed():
    """One token short is too short."""
    with pytest.raises(TextError, match=r"the split has 511 tokens, 512 are needed \(2 windows of 256\)"):
        contiguous(np.arange(511), 2, 256, [], "the split")


def test_a_split_is_tokenised_once_as_one_string():
    """No special tokens inside; BOS is found where the tokenizer adds one."""
    plain = tokenizer()
    ids = tokenise(plain, words(30))
    assert ids.shape == (30,)
    assert leading_tokens(plain) == []
    from tokenizers.processors import TemplateProcessing

    with_bos = tokenizer()
    with_bos.backend_tokenizer.post_processor = TemplateProcessing(single="w7 $A w9", special_tokens=[("w7", 7), ("w9", 9)])
    assert leading_tokens(with_bos) == [7]
    assert tokenise(with_bos, words(30)).tolist() == ids.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(3, 20), st.integers(0, 1), st.integers(0, 200))
def test_strict_windows_are_evenly_spaced_and_disjoint(count, fewest, size, leading, spare):
    """From the first token to the last, none used twice; fewer windows where the text is shorter, down to the fewest."""
    fresh, head = size - leading, [999] * leading
    ids = np.arange(min(count, fewest) * fresh + spare)
    if len(ids) < fewest * fresh:
        with pytest.raises(TextError, match=f"{fewest * fresh:,} are needed"):
            evenly_spaced(ids, count, fewest, size, head, "the split")
        return
    windows = evenly_spaced(ids, count, fewest, size, head, "the split")[:, leading:]
    assert len(windows) == min(count, len(ids) // fresh)
    assert (np.diff(windows, axis=1) == 1).all()
    starts = windows[:, 0]
    assert starts[0] == 0
    if len(windows) > 1:
        assert windows[-1, -1] == ids[-1]
        gaps = np.diff(starts)
        assert gaps.min() >= fresh
        assert gaps.max() - gaps.min() <= 1


def test_text_without_its_reader_is_not_downloaded(monkeypatch):
    """Where the package datasets is missing, auto takes the other text before it fetches anything, and a plan says the same."""
    monkeypatch.setattr(wikitext, "find_spec", lambda name: None)
    monkeypatch.setattr(hub, "fetch_dataset", lambda *_: pytest.fail("fetched"))
    for fetch in (True, False):
        corpus, why = choose("auto", fetch=fetch)
        assert corpus.name == "pydocs"
        assert "pip install datasets" in why
