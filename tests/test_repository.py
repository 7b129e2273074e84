"""The repository's own rules can fail: each is broken once."""

import subprocess
from pathlib import Path

import pytest
from scripts import script

ROOT = Path(__file__).parents[1]


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """What the check says of a repository with these files."""
    rules = script("tools/check_repository.py")
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    def check(files: dict[str, str]) -> str:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        printed: list[str] = []
        monkeypatch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words))))
        status = rules.main()
        assert status == (1 if len(printed) > 1 else 0)
        return "\n".join(printed)

    return check


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"openlvm/a.py": '"""A."""\n' + "x = 1\n" * 400}, "openlvm/a.py:1: 401 lines, at most 400"),
        ({"tests/a.py": '"""A."""\ndef f():\n' + "    x = 1\n" * 60}, "tests/a.py:2: f has 61 lines, at most 60"),
        ({"openlvm/a.py": '"""A."""\ndef f():\n    x = 1\n'}, "openlvm/a.py:2: f has no docstring"),
        ({"openlvm/a.py": "x = 1\n"}, "openlvm/a.py:1: no first line that says what this file is"),
        ({f"openlvm/model/{n}.py": '"""A."""\n' for n in range(9)}, "openlvm/model: 9 files, at most 8"),
        ({"tests/a.py": '"""A."""\nimport torch' + "vision\n"}, "tests/a.py:2: torch" + "vision"),
        ({"docs/a.md": "see /wo" + "rk/main/x\n"}, "docs/a.md:1: an absolute path of one machine"),
        ({"openlvm/a.py": '"""A."""\nfrom .' + "b import c\n"}, "openlvm/a.py:2: a relative import"),
        ({"a.bin": "x" * (40 * 2**20 + 1)}, "41,943,041 bytes are tracked"),
    ],
)
def test_repository_rejects_what_its_rules_forbid(broken, files, said):
    assert said in broken(files)


def test_repository_accepts_methods_that_a_protocol_speaks_for(broken):
    protocol = '"""A."""\nclass P(Protocol):\n    """P."""\n    def f(self):\n        """Say f."""\n'
    quiet = '"""B."""\nclass Q:\n    """Q."""\n    def f(self):\n        x = 1\n    def g(self):\n        x = 1\n'
    said = broken({"openlvm/model/a.py": protocol, "openlvm/model/b.py": quiet})
    assert "b.py:6: g has no docstring" in said
    assert "f has no docstring" not in said


def test_compare_runs_finds_the_first_difference():
    first_difference = script("tools/compare_runs.py").first_difference
    lines = [{"step": step, "loss": 1 / (step + 1), "timing": {"tokens_per_second": step}} for step in range(3)]
    other = [{**line, "timing": {"tokens_per_second": -1}} for line in lines]
    assert first_difference(lines, other) is None
    other[1] = {**other[1], "loss": 0.75}
    assert first_difference(lines, other) == "step 1: loss is 0.5 in the first run and 0.75 in the second"
    assert "3 lines and the second 2" in first_difference(lines, lines[:2])
