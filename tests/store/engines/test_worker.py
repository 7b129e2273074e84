"""A worker: other models than the command's are refused, errors reach the command as what they are."""

import errno
import os

import pytest
import torch

from openlvm.sources.layouts import ImageFolder
from openlvm.store.engines.worker import Models, Worker, plain
from openlvm.store.part import Job


@pytest.fixture
def worker_of(tmp_path, tiny_vqgan):
    def make(facts=None, tokenizer=str(tiny_vqgan), folder="."):
        models = Models(tokenizer, (), "cpu", "fp32")
        job = Job(ImageFolder(at=tmp_path / "pictures"), (), 0, 2, tmp_path / "parts")
        return Worker(3, job, models, models.load().facts() if facts is None else facts, str(folder))

    return make


def test_worker_writes_a_part(worker_of, picture_folder, tmp_path):
    worker = worker_of()
    assert worker.start() == (3, None, "", None)
    [part] = worker.job.source.parts()
    report = worker.write(part)
    assert report.worker == 3 and report.told["records"] == 12 and (tmp_path / "parts" / "00000" / "part.json").exists()


def test_worker_refuses_other_models_than_the_command(worker_of):
    report = worker_of(facts={"codes_fingerprint": "another", "annotators": []}).start()
    assert "other models than the command: codes_fingerprint differ" in str(report.error)


def test_worker_works_in_the_folder_of_the_command(worker_of, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert worker_of(folder=tmp_path).start().error is None and os.getcwd() == str(tmp_path)
    report = worker_of(folder=tmp_path / "elsewhere").start()
    assert "cannot go to" in str(report.error) and "where all machines can" in str(report.error)


def test_worker_tells_why_it_cannot_start(worker_of, tmp_path):
    report = worker_of(facts={}, tokenizer=str(tmp_path / "none")).start()
    assert isinstance(report.error, FileNotFoundError) and "no tokenizer folder" in str(report.error)


def test_models_need_the_device_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda', but PyTorch finds no GPU here"):
        Models("demo", (), "cuda", "fp32").load()


def test_models_in_bfloat16_are_the_same_tokenizer():
    """Its codes mean the same, so that the store is guarded alike; the precision stands in the request instead."""
    exact, fast = (Models("demo", (), "cpu", precision).load() for precision in ("fp32", "bf16"))
    assert exact.facts() == fast.facts() and type(exact.tokenizer) is not type(fast.tokenizer)


def test_errors_are_passed_on_as_what_they_are():
    class Own(ValueError):
        pass

    assert type(plain(Own("mine"))) is ValueError
    full = plain(OSError(errno.ENOSPC, "No space left", "codes.bin"))
    assert full.errno == errno.ENOSPC and "codes.bin" in str(full)
    missing = plain(FileNotFoundError("no tokenizer"))
    assert type(missing) is FileNotFoundError and str(missing) == "no tokenizer"
    assert type(plain(ImportError("pip install openlvm[ray]"))) is ImportError
