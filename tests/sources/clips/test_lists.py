"""Lists of clips are read whatever their form, and a name finds its path."""

import json

import pytest

from openlvm.sources.clips.lists import ClipList, Listed, match_clips, read_list, without_ending


def lists(tmp_path, text, **options):
    (tmp_path / "list").write_text(text, encoding="utf-8")
    return [(entry.clip, entry.label) for entry in read_list(tmp_path, ClipList(files="list", **options))]


def test_list_reads_words_and_cells(tmp_path):
    assert lists(tmp_path, "Run/a.avi 31\n\nb.c.AVI 2\n") == [("Run/a", ""), ("b.c", "")]
    assert lists(tmp_path, "x/a.mp4,run\n", rows="cells", label="{1}") == [("x/a", "run")]
    assert lists(tmp_path, "7;Stop, please\n", rows="cells", delimiter=";", label="{1}") == [("7", "Stop, please")]


def test_list_reads_tables_with_a_byte_order_mark(tmp_path):
    text = '\ufefflabel,id,t\n"run, fast",a7,3\n'
    assert lists(tmp_path, text, rows="table", clip="{id}_{t:0>6}", label="{label}") == [("a7_000003", "run, fast")]


def test_list_reads_json_lists_objects_and_lines(tmp_path):
    rows = [{"id": 7, "split": "train"}, {"id": 8, "split": "test"}]
    assert lists(tmp_path, json.dumps(rows), rows="json", clip="video{id}") == [("video7", ""), ("video8", "")]
    document = json.dumps({"videos": rows})
    chosen = lists(tmp_path, document, rows="json", inside="videos", clip="{id}", only="{split}", equals="test")
    assert chosen == [("8", "")]
    database = json.dumps({"database": {"v": {"marks": [{"label": "x"}]}}})
    assert lists(
        tmp_path, database, rows="json", inside="database", clip="v_{key}", label="{marks[0][label]}"
    ) == [("v_v", "x")]  # fmt: skip
    lines = '{"clip": [{"id": "a.1.mp4"}, {"id": "a.2.mp4"}]}\n\n{"clip": [{"id": "b.1.mp4"}]}\n'
    listed = lists(tmp_path, lines, rows="jsonl", inside="clip", clip="{id}")
    assert listed == [("a.1", ""), ("a.2", ""), ("b.1", "")]
    assert lists(tmp_path, '{"id": 1}\n{"id": 2}\n', rows="jsonl", clip="{id}") == [("1", ""), ("2", "")]


def test_list_takes_each_clip_once_and_every_file_that_fits(tmp_path):
    (tmp_path / "b.txt").write_text("c 1\n")
    (tmp_path / "a.txt").write_text("a 1\nb 2\na 2\n")
    both = read_list(tmp_path, ClipList(files="*.txt", label="{1}"))
    assert both == [Listed("a", "1"), Listed("b", "2"), Listed("c", "1")]
    assert read_list(tmp_path, ClipList(files="*.txt", only="{1}", equals="2")) == [Listed("b", ""), Listed("a", "")]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("a\n", {"label": "{1}"}, "row 1 of .*list has no .*index 1.* expected what .*Is it the publisher's file"),
        ("id\n7\n", {"rows": "table", "clip": "{name}"}, "row 1 of .* has no 'name'"),
        ('[{"id": 1, "x": []}]', {"rows": "json", "clip": "{id}", "label": "{x[0]}"}, "row 1 of .* has no list index"),
        ('[{"id": 1', {"rows": "json", "clip": "{id}"}, "list is not JSON: .*may be truncated"),
        ('{"a": 1}\n{"a"', {"rows": "jsonl", "clip": "{a}"}, "line 2 of .*list is not JSON"),
        ("{}", {"rows": "json", "inside": "videos"}, "has no member 'videos'"),
        ("[1, 2]", {"rows": "json"}, "must hold a list of objects"),
        ("a 1\n", {"only": "{1}", "equals": "2"}, r"lists no clip with \{1\} = '2'"),
        ("", {}, "lists no clip$"),
        ("../../secret 1\n", {}, r"row 1 of .* names the clip '../../secret', which is no path below a folder"),
        ("/etc/x 1\n", {}, "which is no path below a folder"),
        ("a//b 1\n", {}, "which is no path below a folder"),
        ("id,x\n,1\n", {"rows": "table", "clip": "{id}"}, "names the clip '', which is no path"),
        ("[" * 100_000, {"rows": "json"}, "list is not JSON"),
    ],
)
def test_list_rejects_what_is_not_the_publishers(text, options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        lists(tmp_path, text, **options)


def test_list_rejects_a_missing_file(tmp_path):
    for files in ("lost.txt", "lost/*.txt"):
        with pytest.raises(FileNotFoundError, match=r"no list of clips at .*lost.*part of the publisher's annotations"):
            read_list(tmp_path, ClipList(files=files))


def test_match_finds_a_name_at_the_end_of_a_path():
    found = ["a/x.mp4", "ab/x.mp4", "b/x.mp4", "b/xy.webm", "c/deep/z.7"]
    assert match_clips(["b/x", "xy", "z.7", "lost", "deep/z.7"], found) == {
        "b/x": "b/x.mp4",
        "xy": "b/xy.webm",
        "z.7": "c/deep/z.7",
        "deep/z.7": "c/deep/z.7",
    }
    with pytest.raises(ValueError, match=r"two files fit the clip 'x': a/x\.mp4 and ab/x\.mp4"):
        match_clips(["x"], found)


def test_ending_of_films_alone_is_taken_off():
    assert [without_ending(name) for name in ("a/b.mp4", "a.7", "a.MKV", "plain")] == ["a/b", "a.7", "a", "plain"]
