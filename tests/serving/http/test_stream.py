"""Events of a drawing: whole rows are shown, what is missing is gray, and waiting is told."""

import asyncio
import base64

import numpy as np
import pytest
import torch

from openlvm.core.images import read_image
from openlvm.prompting.sampling import Sampling
from openlvm.serving.http import stream
from openlvm.serving.http.stream import NOT_DRAWN, Progress, event, pictures_so_far, progress
from openlvm.serving.work.asked import Complete, Job, Way


def shown(text: str) -> np.ndarray:
    return read_image(base64.b64decode(text))


def test_pictures_so_far_show_whole_rows(lvm):
    whole = [3, 17, 9, 30]
    decoded = lvm.bundle.tokenizer.decode(torch.tensor([whole, [3, 17, 3, 17]])).numpy()
    none, one_code, one_row, three, all_four, next_frame = pictures_so_far(
        lvm.bundle, [[], whole[:1], whole[:2], whole[:3], whole, [*whole, 3, 17]], [0, 0, 0, 0, 0, 1]
    )
    assert none is None and one_code is None
    assert np.array_equal(shown(all_four), decoded[0])
    for partial in (one_row, three, next_frame):
        assert np.array_equal(shown(partial)[:8], decoded[1][:8])  # as if the row went on
        assert (shown(partial)[8:] == NOT_DRAWN).all()


def told(job: Job, changes, bundle, seconds: float = 5) -> list[Progress | None]:
    """What is told while `changes`, one after the other, happen to a job."""

    async def listen() -> list[Progress | None]:
        changed, found = asyncio.Event(), []

        async def change() -> None:
            for one in changes:
                one()
                changed.set()
                await asyncio.sleep(0.05)

        changing = asyncio.create_task(change())
        async for one in progress(job, changed, bundle, 2, seconds=seconds):
            found.append(one)
        await changing
        return found

    return asyncio.run(listen())


@pytest.fixture
def job(pictures, monkeypatch):
    monkeypatch.setattr(stream, "SECONDS_BETWEEN", 0.001)
    return Job("tiny", Complete(images=pictures[:1], num_frames=2), Way(sampling=Sampling(), num_candidates=2))


def test_progress_is_told_until_the_result(lvm, job):
    steps = [
        lambda: [own.extend([1, 2]) for own in job.codes],
        lambda: None,  # nothing new is nothing to tell
        lambda: [own.extend([3, 4, 5, 6]) for own in job.codes],
        lambda: job.result.set_result(None),
    ]
    found = told(job, steps, lvm.bundle)
    assert [(one.drawn, one.total, one.frames) for one in found] == [(4, 16, [0, 0]), (12, 16, [1, 1])]
    assert all(len(one.images) == 2 and all(one.images) for one in found)


def test_waiting_is_told_and_ends_in_time(lvm, job, monkeypatch):
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.1)
    found = told(job, [], lvm.bundle, seconds=0.35)
    assert found == [None] * len(found) and 2 <= len(found) <= 3


def test_time_is_over_although_there_is_always_more(lvm, job, monkeypatch):
    monkeypatch.setattr(stream, "SECONDS_BETWEEN", 0.1)  # there is more each time when it looks again
    found = told(job, [lambda: [own.append(1) for own in job.codes]] * 7, lvm.bundle, seconds=0.15)
    assert 1 <= len(found) <= 2


def test_an_event_is_one_block_of_lines():
    assert event("answer", {"text": "a\nb"}) == b'event: answer\ndata: {"text": "a\\nb"}\n\n'
