"""Options become dataclasses; mistakes become one line; --json keeps stdout for the result alone."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import tyro

from openlvm.cli.command import Outcome, find_pictures, parse, report


@dataclass(frozen=True, kw_only=True)
class Options:
    """Do it."""

    place: tyro.conf.Positional[Path]
    """Where."""
    index: int
    """Which."""
    json: bool = False
    """Machine-readable."""


def test_options_are_read_from_flags():
    expected = Options(place=Path("here"), index=3, json=True)
    assert parse(Options, ["here", "--index", "3", "--json"], "it") == expected


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["here"], r"^required options: Missing from openlvm it: --index INT .*; see openlvm it --help$"),
        (["here", "--index", "x"], r"^value error: Error parsing --index: .*'x'; see openlvm it --help$"),
        (["here", "--index", "1", "--jsn"], r"^unrecognized options: .*--jsn.*; see openlvm it --help$"),
    ],
)
def test_wrong_options_rejects_in_one_line(argv, words):
    with pytest.raises(ValueError, match=words) as raised:
        parse(Options, argv, "it")
    assert not set("╭│╰─\n") & set(str(raised.value))


def test_help_is_printed_and_leaves_with_status_zero(capsys):
    with pytest.raises(SystemExit) as leaving:
        parse(Options, ["--help"], "it")
    assert not leaving.value.code
    assert "Which." in capsys.readouterr().out


def test_json_keeps_stdout_for_the_result(capsys):
    def work():
        print("a log line of some library")
        print("a warning", file=sys.stderr)
        return Outcome({"at": Path("x"), "count": 2}, "2 at x")

    report(work, as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"at": "x", "count": 2}
    assert printed.err == "a log line of some library\na warning\n"


def test_pictures_of_folders_and_patterns_come_in_natural_order(tmp_path):
    for name in ("f10.png", "f2.png", "f1.png", "note.txt"):
        (tmp_path / name).touch()
    numbered = [tmp_path / name for name in ("f1.png", "f2.png", "f10.png")]
    assert find_pictures([str(tmp_path)]) == numbered
    assert find_pictures([str(tmp_path / "f*.png")]) == numbered
    assert find_pictures([str(tmp_path / "f10.png"), str(tmp_path / "f1.png")]) == [numbered[2], numbered[0]]


def test_pictures_rejects_a_word_that_names_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no picture at .*none\*\.png"):
        find_pictures([str(tmp_path / "none*.png")])


@pytest.mark.parametrize("as_json", [False, True])
def test_of_several_ranks_the_first_one_prints(monkeypatch, capsys, as_json):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    done = []
    report(lambda: done.append(1) or Outcome({"a": 1}, "text"), as_json=as_json)
    assert done == [1] and capsys.readouterr().out == ""
