"""``python -m reports compare``: two models, texts or runs side by side."""

from __future__ import annotations

import argparse
import json

from reports.document import read

_EPILOG = """\
Pairs of (model, text) are matched by name, those of local files also when their content, and with it the digits at the end of their name,
changed; what has no counterpart is named. Files with one pair each are compared whatever the names, which is how two models or two
texts are compared; --a and --b choose among several, also within one file:

  python -m reports compare before.json after.json
  python -m reports compare four.json four.json --a smollm2/pydocs --b smollm2/code

Differences come in standard errors, z = (b − a)/√(SE_a² + SE_b²), of ratios on the log scale. Ends with 0 whatever differs, with 4 when
there is nothing to compare."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("before", metavar="A", help="a report file, as 'pytest claims --report FILE' writes it")
    parser.add_argument("after", metavar="B", help="the report file to hold against it; the same one, to compare within it")
    parser.add_argument("--a", metavar="MODEL/CORPUS", help="which of A's models and texts")
    parser.add_argument("--b", metavar="MODEL/CORPUS", help="which of B's models and texts")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """Print the comparison of every pair."""
    from reports.comparison import chosen, compare, left_out, named
    from reports.comparison_shown import as_json, as_markdown, as_text
    from reports.text_table import literal

    before, after = read(options.before), read(options.after)
    sides = chosen(before, after, options.a, options.b)
    comparisons = [compare(a, b) for a, b in sides]
    # Whoever names what to compare leaves the rest out on purpose.
    alone = ([], []) if options.a or options.b else left_out(before, after, sides)
    if options.format == "json":
        others = {side: [{"model": model, "corpus": corpus} for model, corpus in of] for side, of in zip("ab", alone, strict=True)}
        made = {"comparisons": [as_json(c) for c in comparisons], "not_compared": others}
        print(json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        write, between = (as_text, "\n\n" + "─" * 100 + "\n\n") if options.format == "text" else (as_markdown, "\n\n---\n\n")
        only = [f"only {side} has {named(of)}" for side, of in zip("AB", alone, strict=True) if of]
        told = f"Not compared: {'; '.join(only)}."
        said = [told if options.format == "text" else literal(told)] if only else []
        print(between.join([*said, *(write(c) for c in comparisons)]))
    return 0
