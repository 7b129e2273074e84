"""`openlvm evaluate` with an untrained LVM on small made-up pictures: all is written, and it repeats."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from openlvm.cli.main import main
from openlvm.core.records import Depth, Keypoints, Normals, Record, Segmentation
from openlvm.core.seeds import rng
from openlvm.evaluation.suites import mini, run
from openlvm.evaluation.trials import CONDITIONS
from openlvm.sources.interface import Part, split_into_parts

SIDE = 32


@dataclass(frozen=True)
class Toys:
    """Records "toy<n>/<task>" with every slot that the suite asks for; five tasks of eight records each."""

    split: str
    frames: int

    slots = ("image",)

    def describe(self):
        return {}

    def parts(self) -> list[Part]:
        return split_into_parts([f"toy{number}/{number % 5}" for number in range(40)], 16)

    def read(self, part):
        for key in part.items:
            frames = [self._frame(rng(key, self.split, frame)) for frame in range(self.frames)]
            yield Record(key=key, slots={name: [one[name] for one in frames] for name in frames[0]}, label=key[-1])

    @staticmethod
    def _frame(chance):
        image = np.repeat(np.repeat(chance.integers(0, 256, (4, 4, 3), dtype=np.uint8), 8, 0), 8, 1)
        inside = image.mean(-1) > 110
        inside[:8, :8] = True
        return {
            "image": image,
            "answer": 255 - image,
            "mask": Segmentation(inside.astype(np.int32)),
            "depth": Depth(np.where(inside, 1 + image[..., 0] / 255, 0).astype(np.float32)),
            "normals": Normals(np.where(inside[..., None], np.float32([0, 0, -1]), 0).astype(np.float32)),
            "pose": Keypoints(
                chance.uniform(4, 28, (1, 17, 2)).astype(np.float32), np.ones((1, 17), bool), (SIDE, SIDE)
            ),
        }


@pytest.fixture
def toys(monkeypatch):
    """Every pool of the suite is made of toys."""
    frames = {"objects": 2, "turns": 8, "motion": 8, "long motion": 16}

    def of(name, pool):
        subject = pool.subject if pool.grouped else mini.object_of
        return replace(pool, source=lambda split: Toys(split, frames.get(name, 1)), subject=subject)

    monkeypatch.setattr(run, "POOLS", {name: of(name, pool) for name, pool in mini.POOLS.items()})


def evaluate(lvm_at, out, *words: str) -> int:
    sizes = ("--queries", "2", "--puzzles", "3")
    return main(["evaluate", "mini", "--lvm", str(lvm_at), "--out", str(out), *sizes, *words])


def test_evaluation_writes_all_and_repeats(toys, lvm_at, tmp_path, capsys):
    assert evaluate(lvm_at, tmp_path / "one", "--json") == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["tasks"].keys() == {task.name for task in mini.TASKS}
    for name, task in report["tasks"].items():
        assert set(task["pixel_error"]) == set(CONDITIONS) and len(task["queries"]["wrong"]) == 2, name
        assert task["pixel_error"]["correct"]["value"] == pytest.approx(np.mean(task["queries"]["correct"]), abs=1e-4)
        assert task["minus"]["copy"]["value"] == pytest.approx(
            task["pixel_error"]["correct"]["value"] - task["pixel_error"]["copy"]["value"]
        )
    curves = report["curves"]
    assert curves["depth"]["counts"] == [0, 1, 2, 3, 5, 7] and curves["next frame"]["counts"] == [1, 3, 5, 7, 11, 15]
    assert report["choices"]["matrices"]["puzzles"] == 3 and report["choices"]["size"]["chance"] == 0.5
    assert len(report["gates"]) > 20 and not all(gate["cpu_passes"] for gate in report["gates"])
    page = (tmp_path / "one" / "report.md").read_text()
    assert "| mask IoU |" in page and "**FAIL**" in page and "segmentation" in page
    for name in ("gallery.png", "failures.png"):
        assert np.asarray(Image.open(tmp_path / "one" / name)).shape[0] > len(mini.TASKS) * 96
    assert printed.err.count("error 0.") == len(mini.TASKS)
    assert evaluate(lvm_at, tmp_path / "two") == 0
    again = json.loads((tmp_path / "two" / "report.json").read_text())
    assert (again["tasks"], again["choices"]) == (report["tasks"], report["choices"])
    shown = capsys.readouterr().out
    assert "beats" in shown and "figure" in shown and max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["maxi"], "no suite called 'maxi'; known: bar2022, delvm, lvm, mini, painter"),
        (["mini", "--queries", "0"], "queries=0 and puzzles=300 must be at least 1"),
        (["mini", "--temperature", "-1"], "temperature=-1.0 must be 0 (greedy) or above"),
        (["mini", "--lvm", "nowhere"], "no LVM bundle at nowhere"),
    ],
)
def test_evaluation_refuses_what_it_cannot_do(lvm_at, tmp_path, capsys, words, said):
    words = words if "--lvm" in words else [*words, "--lvm", str(lvm_at)]
    assert main(["evaluate", *words, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and not (tmp_path / "out").exists()
