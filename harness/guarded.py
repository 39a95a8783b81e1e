"""A protocol of which only the fields that a measurement declares can be read: the store names its figures by no others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, TypeVar

from harness.easy_protocol import EasyProtocol
from harness.protocol import Protocol


class UndeclaredError(RuntimeError):
    """A measurement reads a field of the protocol that its key does not have, so that a stored figure could be of another value."""


class _Guard:
    """Refuse the fields that are not declared, to methods too; what is read is noted in ``_read``."""

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        if name == "__dict__":
            raise UndeclaredError(f"{own(self, '_reader')} reads all of the protocol at once")
        if name in own(self, "__dataclass_fields__"):
            if name not in own(self, "_declared"):
                raise UndeclaredError(f"{own(self, '_reader')} reads {name} of the protocol and does not declare that it depends on it")
            own(self, "_read").add(name)
        return own(self, name)


class GuardedProtocol(_Guard, Protocol):
    """A protocol behind the guard."""


class GuardedEasy(_Guard, EasyProtocol):
    """The part of claim 5 behind it."""


_Of = TypeVar("_Of", bound=_Guard)


def guarded(protocol: Protocol, declared: Iterable[str], easy: Iterable[str], reader: str) -> GuardedProtocol:
    """Return a protocol of which ``declared`` fields can be read, and of ``easy`` those of claim 5.

    Any other raises UndeclaredError, which names the ``reader``, wherever it is read: by its name, in a method, by ``asdict``.
    """
    names, of_easy = set(declared), set(easy)
    if unknown := [*names.difference(_names(Protocol)), *of_easy.difference(_names(EasyProtocol))]:
        raise UndeclaredError(f"{reader} declares {', '.join(sorted(unknown))}, which the protocol does not have")
    part = _view(GuardedEasy, protocol.easy, of_easy, reader)
    return _view(GuardedProtocol, protocol, names | ({"easy"} if of_easy else set()), reader, easy=part)


def as_keyed(protocol: Protocol, declared: Iterable[str], easy: Iterable[str]) -> dict[str, Any]:
    """Return the protocol as a key has it: a field that is not declared stands with its default, whatever it is.

    So figures that do not depend on it are found under every protocol, and those of the default protocol by one key for good. Of claim
    5's part there are only the fields of ``easy``.
    """
    stated, of_easy = protocol.as_dict(), tuple(easy)
    kept = {name: stated[name] if name in set(declared) else usual for name, usual in Protocol().as_dict().items() if name != "easy"}
    return kept | ({"easy": {name: stated["easy"][name] for name in of_easy}} if of_easy else {})


def _names(kind: type[Protocol] | type[EasyProtocol]) -> list[str]:
    return [field.name for field in fields(kind)]


def _view(kind: type[_Of], of: Protocol | EasyProtocol, declared: set[str], reader: str, **instead: Any) -> _Of:
    view = object.__new__(kind)
    values = {field.name: getattr(of, field.name) for field in fields(of)} | instead
    for name, value in {**values, "_declared": frozenset(declared), "_read": set(), "_reader": reader}.items():
        object.__setattr__(view, name, value)
    return view
