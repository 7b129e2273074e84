"""Looking a name up in a table of named alternatives, with near names when it is not there."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Value = TypeVar("Value")


def pick(table: Mapping[str, Value], name: str, what: str) -> Value:
    """`table[name]`, or a ValueError that lists near names.

    Args:
        table: name -> value.
        name: the name asked for.
        what: what the table holds, for the message ("recipe", "decoder size").
    """
    if name in table:
        return table[name]
    near = get_close_matches(name, table, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(table))}"
    raise ValueError(f"no {what} called {name!r}; {hint}")
