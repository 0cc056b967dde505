"""The rules that shaped the windows of a state folder, so that whoever reads it cuts the same ones."""

from __future__ import annotations

import msgspec

from disc_stream.stream.rules import Rules
from disc_stream_server.storage.queries import StateQueries
from disc_stream_server.storage.state import StateStore

_FACT = "rules"
_UNTOLD = Rules(reorder=32)


class RulesFrom(msgspec.Struct):
    """The rules of the rows after a position.

    Args:
        after: the position.
        rules: they hold until the next ones.
        model: what streams were brought to; where it changes, all devices begin new windows.
    """

    after: int
    rules: Rules
    model: str


def note_rules(store: StateStore, rules: Rules, model: str) -> None:
    """Write down that these rules hold for the rows after the last checkpoint."""
    history = [one for one in _read(store) if one.after < store.position]
    if not history or (history[-1].rules, history[-1].model) != (rules, model):
        history.append(RulesFrom(store.position, rules, model))
        store.put_fact(_FACT, msgspec.msgpack.encode(history))


def read_rules(store: StateQueries) -> list[RulesFrom]:
    """All rules, in order; the defaults where nothing was labelled yet."""
    return _read(store) or [RulesFrom(0, _UNTOLD, "")]


def _read(store: StateQueries) -> list[RulesFrom]:
    state = store.fact(_FACT)
    return [] if state is None else msgspec.msgpack.decode(state, type=list[RulesFrom])
