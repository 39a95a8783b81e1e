"""A bundle that was damaged, tampered with or made up is refused before anything is computed from it."""

from __future__ import annotations

import random
import re
import shutil

import pytest

from tests.bundles import first, forge, refused


@pytest.mark.parametrize("kind", ["bundle.json", "records", "windows"])
def test_one_bit_anywhere_is_seen(bundle, replayed, kind):
    """Whichever bit of whichever file is flipped, the bundle is refused."""
    draw = random.Random(kind)
    files = [bundle / kind] if kind == "bundle.json" else sorted((bundle / kind).iterdir())
    for file in files * (12 // len(files) + 1):
        whole = file.read_bytes()
        place, bit = draw.randrange(len(whole)), draw.randrange(8)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        assert refused(replayed(), "bundle.json" if kind == "bundle.json" else file.name), (file, place, bit)
        file.write_bytes(whole)
    assert replayed()[0] == 0


def swap(bundle):
    """Two files in the place of one another."""
    one, two = sorted((bundle / "records").iterdir())[:2]
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes)
    two.write_bytes(one_bytes)


def link(bundle):
    """A link in the place of a file, to a copy of it outside."""
    file = bundle / first(bundle)
    file.rename(bundle.parent / "outside")
    file.symlink_to(bundle.parent / "outside")


def truncate(bundle):
    """The last byte is lost."""
    file = bundle / first(bundle)
    file.write_bytes(file.read_bytes()[:-1])


def write_value(bundle, text):
    """Another word where a row has its value."""
    said = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(re.sub(r'"value": [^,]*', f'"value": {text}', said, count=1))


DAMAGE = {
    "a file is missing": (lambda b: (b / first(b)).unlink(), ("is missing",)),
    "the manifest is missing": (lambda b: (b / "bundle.json").unlink(), ("no bundle.json",)),
    "a file too many": (lambda b: (b / "windows" / "x").write_text(""), ("windows/x", "not part")),
    "a note beside it": (lambda b: (b / "README").write_text(""), ("README", "not part")),
    "a folder too many": (lambda b: (b / "more").mkdir(), ("more", "no plain file")),
    "a folder in a folder": (lambda b: (b / "records" / "x").mkdir(), ("records/x", "no plain file")),
    "truncated": (truncate, ("was altered", "bytes")),
    "swapped": (swap, ("was altered",)),
    "a link out of the folder": (link, ("no plain file",)),
    "a folder of links": (lambda b: (b / "windows").rename(b.parent / "w") and (b / "windows").symlink_to(b.parent / "w"), ("windows",)),
    "one space more": (lambda b: (b / "bundle.json").write_text((b / "bundle.json").read_text() + " "), ("was altered",)),
    "not a number": (lambda b: write_value(b, "NaN"), ("NaN is not a number",)),
    "an infinite number": (lambda b: write_value(b, "-Infinity"), ("-Infinity is not a number",)),
    "too large a number": (lambda b: write_value(b, "1e999"), ("bundle.json",)),
    "two of one name": (lambda b: write_value(b, '1,\n    "value": 0'), ("was altered",)),
    "not JSON": (lambda b: (b / "bundle.json").write_text("{"), ("bundle.json",)),
    "nested too deep": (lambda b: (b / "bundle.json").write_text("[" * 200_000), ("bundle.json",)),
    "a list": (lambda b: (b / "bundle.json").write_text("[]\n"), ("not an object",)),
    "something else": (lambda b: shutil.rmtree(b), ("cannot be read",)),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_bundle_is_refused(bundle, replayed, what):
    """Missing, additional, altered, swapped and truncated files, links, folders, and manifests that no run wrote."""
    damage, words = DAMAGE[what]
    damage(bundle)
    assert refused(replayed(), *words)


def traverse(name):
    """Have a cell take a record from outside the folder."""

    def change(contents):
        old = next(iter(contents["files"]))
        contents["files"][name] = contents["files"].pop(old)
        for cell in contents["cells"]:
            cell["records"] = {what: name if file == old else file for what, file in cell["records"].items()}

    return change


CRAFTED = {
    "a path upwards": (traverse("records/../../../etc/passwd"), "pattern"),
    "an absolute path": (traverse("/etc/passwd"), "pattern"),
    "another format": (lambda c: c.update(format=2), "format 2"),
    "another kind": (lambda c: c.update(kind="zip"), "zip"),
    "an unknown field": (lambda c: c.update(more=1), "more"),
    "no rows": (lambda c: c["cells"][0].pop("row"), "cells.0.row"),
    "words for numbers": (lambda c: c["cells"][0]["row"].update(value="0.5"), "value"),
    "a file of no cell": (lambda c: c["cells"].clear(), "not part"),
    "a file that is not listed": (lambda c: c["files"].popitem(), "missing"),
    "control characters": (lambda c: c.update({"\x1b[2J": 1}), "\\x1b"),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_crafted_manifest_is_refused(bundle, replayed, what):
    """Though its digest fits: names that lead out of the folder, other formats, what is no number, what no bundle has."""
    change, word = CRAFTED[what]
    forge(bundle, change)
    assert refused(replayed(), word)
