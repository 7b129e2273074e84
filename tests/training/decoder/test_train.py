"""From a store to a decoder folder: it learns, repeats, resumes, and refuses what cannot be."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import openlvm.training.decoder.train
from openlvm.core.images import ImagePreparation
from openlvm.core.records import Record
from openlvm.core.runs import RunFolder, read_metrics
from openlvm.core.seeds import rng
from openlvm.model.decoder import Decoder, DecoderConfig
from openlvm.model.folder import load_decoder, save_decoder
from openlvm.sentences.grammar import Pairs, Single
from openlvm.sources.interface import Part
from openlvm.store.plan import Component
from openlvm.store.tokenize import tokenize
from openlvm.training.config import OptimConfig, TrainConfig
from openlvm.training.decoder.distill import DistillConfig
from openlvm.training.decoder.starts import fresh_decoder
from openlvm.training.decoder.task import DecoderTask
from openlvm.training.decoder.train import DecoderTrainConfig, train_decoder

K, N = 16, 4
MODEL = DecoderConfig(vocab_size=K + 100, hidden_size=32, num_layers=2, num_heads=2, mlp_size=64, context=16 * N + 1)


class FourGrays:
    """A tokenizer of 2 x 2 pixels, each a code of 16 grays."""

    codes_per_image, codebook_size, image_size = N, K, 2
    preparation = ImagePreparation(size=2)
    fingerprint = codes_fingerprint = "four grays"

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels[..., 0].flatten(1).long() // 16

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return (codes * 16).to(torch.uint8).view(-1, 2, 2, 1).expand(-1, -1, -1, 3)


@dataclass(frozen=True)
class Negatives:
    """Drawn pictures with their negative as a second slot."""

    count: int
    seed: int

    @property
    def slots(self) -> tuple[str, ...]:
        return ("image", "negative")

    def describe(self) -> dict:
        return {"layout": "Negatives", "count": self.count, "seed": self.seed}

    def parts(self) -> list[Part]:
        return [Part("00000", tuple(str(number) for number in range(self.count)))]

    def read(self, part: Part):
        for key in part.items:
            gray = rng("negatives", self.seed, key).integers(0, 256, size=(2, 2, 1)).astype(np.uint8)
            picture = np.repeat(gray, 3, axis=2)
            yield Record(key=key, slots={"image": [picture], "negative": [255 - picture]})


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Path]:
    at = tmp_path_factory.mktemp("stores")
    for name, count, seed in (("train", 800, 0), ("heldout", 64, 1), ("other", 800, 2)):
        tokenize(Negatives(count, seed), tokenizer=FourGrays(), at=at / name)
    return {name: at / name for name in ("train", "heldout", "other")}


def config_for(stores: dict[str, Path], **changes) -> DecoderTrainConfig:
    optim = OptimConfig(lr=1e-2, optimizer="muon", warmup_steps=5)
    values = {"steps": 12, "positions_per_step": 4, "positions_per_forward": 2, "optim": optim, "log_every": 1}
    values |= {"checkpoint_every": 5, "seed": 3}
    fields = {name: changes.pop(name) for name in list(changes) if name in TrainConfig.__dataclass_fields__}
    pairs = Pairs(target="negative", pairs=4)
    learned = Component(stores["train"], pairs, 3, "pairs")
    return DecoderTrainConfig(
        **{
            "model": MODEL,
            "train": TrainConfig(**values | fields),
            "components": (learned, Component(stores["train"], Single(), 1, "single")),
            "heldout": (Component(stores["heldout"], pairs, 1, "pairs"),),
            **changes,
        }
    )


def lines_of(at: Path) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "timing"} for line in read_metrics(at)]


def losses_of(at: Path) -> list[tuple]:
    return [(line["step"], line["loss"], line["parts"]) for line in read_metrics(at)]


def test_training_learns_the_task_on_held_out_records(stores, tmp_path):
    config = config_for(stores, steps=150, max_passes=20, log_every=50, evaluate_every=75)
    folder = train_decoder(config, tmp_path)
    last = read_metrics(tmp_path)[-1]["evaluation"]
    assert last["heldout/role:answer"] < 1.2 < 2.7 < last["heldout/role:query"]  # ln 16 = 2.77: pictures are noise
    assert set(read_metrics(tmp_path)[0]["parts"]) == {"pairs", "single", "role:context", "role:query", "role:answer"}
    decoder = load_decoder(folder)
    code = torch.tensor([[K, 3, 0, 15, 7, 12, 15, 0, 8, 1, 2, 3, 4]])
    assert decoder(code).isfinite().all() and decoder.config == MODEL


@pytest.mark.parametrize("layout", ["dense", "packed"])
def test_training_repeats_and_resumes_bit_exact(stores, tmp_path, layout):
    config = config_for(stores, layout=layout, max_passes=3)
    ends = [train_decoder(config, tmp_path / name) for name in ("a", "b")]
    assert len(lines_of(tmp_path / "a")) == 12 and lines_of(tmp_path / "a") == lines_of(tmp_path / "b")

    def die_at_8(done: int):
        raise KeyboardInterrupt
        yield

    stopped = replace(config, train=replace(config.train, evaluate_every=8))
    with pytest.raises(KeyboardInterrupt):
        train_decoder(stopped, tmp_path / "cut", evaluators=[die_at_8])
    assert list(RunFolder(tmp_path / "cut").checkpoints()) == [5]
    ends.append(train_decoder(stopped, tmp_path / "cut", resume=True))
    cut = [{name: value for name, value in line.items() if name != "evaluation"} for line in lines_of(tmp_path / "cut")]
    assert cut == [{n: v for n, v in line.items() if n != "evaluation"} for line in lines_of(tmp_path / "a")]
    assert len({(end / "model.safetensors").read_bytes() for end in ends}) == 1


def test_student_learns_from_its_teacher_and_resumes_bit_exact(stores, tmp_path):
    """Both losses are in the metrics; the second run reads the answers that the first one wrote, and is the same."""
    taught = config_for(stores, steps=60, max_passes=10, log_every=20)
    teacher = train_decoder(replace(taught, model=replace(MODEL, hidden_size=48)), tmp_path / "teacher")
    distill = DistillConfig(teacher=str(teacher), top_k=8, cache=str(tmp_path / "cache"))
    config = config_for(stores, max_passes=3, distill=distill)
    folder = train_decoder(config, tmp_path / "a")
    parts = [line["parts"] for line in lines_of(tmp_path / "a")]
    assert parts[-1]["distill"] < 0.7 * parts[0]["distill"]
    assert all(part["next_code"] + part["distill"] == pytest.approx(line["loss"], rel=1e-4)
               for part, line in zip(parts, lines_of(tmp_path / "a"), strict=True))  # fmt: skip
    assert "heldout/distill" not in lines_of(tmp_path / "a")[-1]["evaluation"]  # the same loss as of other decoders

    def die(done: int):
        raise KeyboardInterrupt
        yield

    stopped = replace(config, train=replace(config.train, evaluate_every=8))
    with pytest.raises(KeyboardInterrupt):
        train_decoder(stopped, tmp_path / "b", evaluators=[die])
    again = train_decoder(stopped, tmp_path / "b", resume=True)
    assert losses_of(tmp_path / "b") == losses_of(tmp_path / "a")
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    save_decoder(Decoder(replace(MODEL, hidden_size=48), seed=8), teacher)
    with pytest.raises(ValueError, match="written for another teacher"):
        train_decoder(stopped, tmp_path / "b", resume=True)
    uncached = replace(stopped, distill=replace(distill, cache=""))
    with pytest.raises(ValueError, match="distill.cache"):
        train_decoder(uncached, tmp_path / "b", resume=True)


def test_training_with_the_codebook_writes_a_plain_decoder(stores, tmp_path):
    config = config_for(stores, steps=3, optim=OptimConfig(lr=1e-2), embedding="codebook")
    vectors = torch.arange(K * 3).float().view(K, 3)
    decoder = fresh_decoder(MODEL, seed=1, vectors=vectors, codes_per_image=None, embedding="codebook")
    written = load_decoder(train_decoder(config, tmp_path / "a", decoder=decoder))
    table = written.model.embed_tokens.weight
    torch.testing.assert_close(table, decoder.model.embed_tokens.weight.detach())
    assert torch.linalg.matrix_rank(table[:K]) < 3.5
    with pytest.raises(ValueError, match="embedding=codebook, but the decoder given has another"):
        train_decoder(config, tmp_path / "b")
    with pytest.raises(ValueError, match="embedding=table, but the decoder given has another"):
        train_decoder(replace(config, embedding="table"), tmp_path / "b", decoder=decoder)


def test_training_starts_from_given_weights(stores, tmp_path):
    given = Decoder(MODEL, seed=9)
    config = config_for(stores, steps=1, optim=OptimConfig(lr=1e-9, weight_decay=0))
    folder = train_decoder(config, tmp_path, decoder=given)
    torch.testing.assert_close(
        load_decoder(folder).state_dict(), Decoder(MODEL, seed=9).state_dict(), rtol=0, atol=1e-8
    )


def test_training_rejects_what_cannot_be(stores, tmp_path):
    with pytest.raises(
        ValueError, match=r"steps=9000 of train.positions_per_step=4 need 36000 positions, the plan has"
    ):
        train_decoder(config_for(stores, steps=9000), tmp_path)
    with pytest.raises(ValueError, match="model.vocab_size=18 has no room for the 16 codes.*use 116"):
        train_decoder(config_for(stores, model=replace(MODEL, vocab_size=18)), tmp_path)
    with pytest.raises(ValueError, match="config.model says"):
        train_decoder(config_for(stores), tmp_path, decoder=Decoder(replace(MODEL, num_layers=1)))
    assert not list(tmp_path.iterdir())


def test_resume_rejects_changed_data(stores, tmp_path):
    moving = {**stores, "train": tmp_path / "store"}
    shutil.copytree(stores["train"], moving["train"])
    train_decoder(config_for(moving, steps=2, optim=OptimConfig(lr=1e-3)), tmp_path / "run")
    shutil.rmtree(moving["train"])
    shutil.copytree(stores["other"], moving["train"])
    with pytest.raises(ValueError, match=r"stores\.pairs: "):
        train_decoder(config_for(moving, steps=2, optim=OptimConfig(lr=1e-3)), tmp_path / "run", resume=True)


def test_training_resumes_after_kill_9(stores, tmp_path):
    at, config = tmp_path / "killed", config_for(stores, max_passes=3)
    train_decoder(config, tmp_path / "whole")
    here = str(Path(__file__).parents[3])
    command = [sys.executable, __file__, str(stores["train"].parent), str(at)]
    running = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": here}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(read_metrics(at)) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert list(RunFolder(at).checkpoints()) == [5] and len(read_metrics(at)) >= 8
    train_decoder(config, at, resume=True)
    assert lines_of(at) == lines_of(tmp_path / "whole")


class SlowTask(DecoderTask):
    def after_step(self, step: int) -> None:
        time.sleep(0.1)


if __name__ == "__main__":  # the run that is killed
    openlvm.training.decoder.train.DecoderTask = SlowTask
    folders = {name: Path(sys.argv[1]) / name for name in ("train", "heldout")}
    train_decoder(config_for(folders, max_passes=3), sys.argv[2], resume=True)
