"""Prompts as the page says them."""

import base64
import json

import pytest
from http_calls import picture_file


@pytest.fixture(scope="session")
def slots(pictures) -> list[dict[str, str]]:
    """Slots of the page that hold the pictures."""
    return [
        {"name": f"picture {number}.png", "data": base64.b64encode(picture_file(picture)).decode()}
        for number, picture in enumerate(pictures)
    ]


@pytest.fixture(scope="session")
def words(slots):
    """Call with a mode: what the page says of a prompt of a few pictures."""
    a, b, c, d, e = slots[:5]
    sections = {
        "complete": [[[a], [b], [c]]],
        "analogy": [[[a, b], [c, d]], [[e]]],
        "compose": [[[a, b]], [[c, d], [None, None]], [[e]]],
        "choose": [[[a], [b]], [[c], [d], [e]]],
    }

    def say(mode: str, **more) -> str:
        return json.dumps({"mode": mode, "sections": sections[mode], "truths": [], "right": None, **more})

    return say
