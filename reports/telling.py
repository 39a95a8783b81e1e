"""What a run says while it runs: lines that are shown at once, and the progress of a measurement."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from fixtures.naming import printable
from reports import console


def teller(config: pytest.Config) -> Callable[[str], None]:
    """Return what shows the user a line at once, such as the size of a download; nothing in a worker, which has no terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if hasattr(config, "workerinput"):
        return lambda line: None

    def tell(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            print(f"\n{printable(line)}", file=sys.stderr, flush=True)

    return tell


def announcer(config: pytest.Config) -> Callable[[str], Callable[[int, int], None]]:
    """Return what shows progress: one line rewritten on a terminal, a few plain lines elsewhere, nothing in a worker."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if reporter is None:
        return lambda what: lambda done, total: None

    def show(text: str, rewrite: bool) -> None:
        with capture.global_and_fixture_disabled():
            if rewrite:
                reporter.rewrite(text.rstrip("\n"), erase=True)
                if text.endswith("\n"):
                    reporter.line("")
            else:
                reporter.ensure_newline()
                reporter.write_line(text)

    return lambda what: console.progress(what, show, terminal=reporter.isatty)
