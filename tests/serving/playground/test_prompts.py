"""What the page says becomes a request of the API, or one line that tells what is missing."""

import base64
import json
import re

import pytest

from openlvm.serving.http.wire import Number, validated
from openlvm.serving.playground.prompts import read_prompt, safe_name


def names(value):
    """Names of pictures, nested as they were."""
    if isinstance(value, list):
        return [names(one) for one in value]
    return value.name


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("complete", {"images": ["0", "1", "2"]}),
        ("analogy", {"pairs": [["0", "1"], ["2", "3"]], "query": "4"}),
        ("compose", {"groups": [[["0", "1"]], [["2", "3"]]], "query": "4"}),
        ("choose", {"context": ["0", "1"], "options": ["2", "3", "4"]}),
    ],
)
def test_sections_become_the_fields_of_a_request(words, slots, mode, expected):
    prompt = read_prompt(words(mode))
    told = json.dumps(expected)
    for number in range(5):
        told = told.replace(f'"{number}"', f'"picture_{number}.png"')
    assert {field: names(value) for field, value in prompt.given.items()} == json.loads(told)
    request = validated(prompt.verb, prompt.request(**({"num_frames": 2} if mode == "complete" else {})), Number)
    assert request.model_dump().items() >= json.loads(re.sub(r'"(\d)"', r"\1", json.dumps(expected))).items()
    assert list(prompt.files) == [base64.b64decode(slot["data"]) for slot in slots[: len(prompt.files)]]
    assert [picture.data for picture in prompt.pictures] == [slot["data"] for slot in slots[: len(prompt.pictures)]]


@pytest.mark.parametrize(
    ("mode", "sections", "told"),
    [
        ("complete", [[]], "Frames is empty"),
        ("analogy", [[[None, None]], [["S"]]], "Examples has no pair"),
        ("analogy", [[["S", "S"], ["S", None]], [["S"]]], "Examples: pair 2 lacks a picture"),
        ("analogy", [[["S", "S"]], [[None]]], "Query is empty"),
        ("compose", [[["S", "S"]], [], [["S"]]], "Task 2 has no pair"),
        ("choose", [[["S"]], []], "Options is empty"),
        ("choose", [[], [["S"]]], "Shown is empty"),
        ("draw", [], "do not understand each other"),
        ("complete", "S", "do not understand each other"),
        ("complete", [[["S"]], 3], "do not understand each other"),
        ("complete", [[[{"name": "x"}]]], "do not understand each other"),
    ],
)
def test_what_is_missing_is_told(slots, mode, sections, told):
    text = json.dumps({"mode": mode, "sections": sections, "truths": [], "right": None})
    with pytest.raises(ValueError, match=told):
        read_prompt(text.replace('"S"', json.dumps(slots[0])))


@pytest.mark.parametrize("text", ["", "null", "[]", "3", '{"mode": "complete"}', "{" * 50_000, "[" * 50_000])
def test_other_words_are_refused(text):
    with pytest.raises(ValueError, match="do not understand each other"):
        read_prompt(text)


def test_words_that_are_costly_to_read_are_refused_unread():
    with pytest.raises(ValueError, match="brackets and commas"):
        read_prompt('{"sections": [' + "[]," * 40_000 + "[]]}")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("chair.png", "chair.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a b.jpg", "a_b.jpg"),
        ('");import os;("', "_import_os_"),
        (".hidden", "hidden"),
        ("", "picture"),
        ("Stühle.png", "Stühle.png"),
        ("x" * 300 + ".png", "x" * 56 + ".png"),
        ("x" * 9 + "--" + "x" * 54 + ".png", "x" * 54 + ".png"),
    ],
)
def test_names_are_safe_in_folders_and_programs(given, kept):
    assert safe_name(given) == kept


def test_other_pictures_of_one_name_get_other_names_and_the_same_picture_keeps_it(slots):
    first, second = {**slots[0], "name": "a.png"}, {**slots[1], "name": "a.png"}
    text = json.dumps({"mode": "complete", "sections": [[[first], [second], [first]]], "truths": [], "right": None})
    prompt = read_prompt(text)
    assert names(prompt.given["images"]) == ["a.png", "a-2.png", "a.png"]
    assert [picture.name for picture in prompt.pictures] == ["a.png", "a-2.png"]


def test_names_differ_where_folders_do_not_know_capitals(slots):
    given = [{**slot, "name": name} for slot, name in zip(slots, ("a.png", "A.png", "repeat.py"), strict=False)]
    text = json.dumps({"mode": "complete", "sections": [[[one] for one in given]], "truths": [], "right": None})
    assert names(read_prompt(text).given["images"]) == ["a.png", "A-2.png", "repeat-2.py"]


def test_truths_and_the_right_option_are_kept(words, slots):
    prompt = read_prompt(words("choose", truths=[slots[7]], right=1))
    assert prompt.truths == (slots[7]["data"],) and prompt.right == 1
