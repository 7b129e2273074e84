"""Jobs are answered as the LVM answers them, in any company; who left is dropped, and a failure stays where it is."""

import threading

import numpy as np
import pytest

from openlvm.prompting.sampling import Sampling
from openlvm.serving.work import worker as workers
from openlvm.serving.work.asked import Analogy, Cancelled, Choose, Complete, Compose, Job, Score, Way
from openlvm.serving.work.worker import Worker

SECONDS = 20


@pytest.fixture
def worker(lvm):
    made = Worker({"tiny": lvm}, max_bytes=2**30)
    made.start()
    yield made
    made.stop()


def job_of(asked, on_change=None, **way) -> Job:
    settled = None if isinstance(asked, Score | Choose) else Way(**{"sampling": Sampling(), **way})
    return Job("tiny", asked, settled, on_change=on_change)


def submit(worker, *jobs):
    for job in jobs:
        worker.check(job)
        worker.submit(job)
    return [job.result.result(SECONDS) for job in jobs]


def test_answers_equal_calls_of_the_lvm(worker, lvm, pictures, pairs):
    how = {"num_candidates": 2, "seed": 3}
    answers = submit(
        worker,
        job_of(Analogy(pairs=pairs, query=pictures[4]), **how),
        job_of(Compose(groups=[pairs[:1], pairs[1:]], query=pictures[5]), **how),
        job_of(Complete(images=pictures[:3], num_frames=3), **how),
    )
    expected = [
        lvm.analogy(pairs, pictures[4], **how),
        lvm.compose([pairs[:1], pairs[1:]], pictures[5], **how),
        lvm.complete(pictures[:3], num_frames=3, **how),
    ]
    for answer, reference in zip(answers, expected, strict=True):
        assert np.array_equal(answer.codes, reference.codes)
        assert np.array_equal(answer.images, reference.images)
        assert np.array_equal(answer.numbers, reference.numbers)
        assert np.allclose(answer.log_probs, reference.log_probs, atol=1e-4)
    assert np.allclose(answers[0].gain, expected[0].gain, atol=1e-4) and answers[2].gain is None


def test_exact_jobs_have_the_same_bits_in_company(worker, lvm, pictures, pairs):
    jobs = [
        job_of(Analogy(pairs=pairs, query=pictures[number]), seed=number, exact=number % 2 == 0)
        for number in range(4, 12)
    ]
    for number, answer in list(zip(range(4, 12), submit(worker, *jobs), strict=True))[::2]:
        reference = lvm.analogy(pairs, pictures[number], seed=number, exact=True)
        for field in ("codes", "images", "log_probs", "entropies", "gain"):
            assert np.array_equal(getattr(answer, field), getattr(reference, field))


def test_measures_equal_calls_of_the_lvm(worker, lvm, pictures):
    context, options = pictures[:3], pictures[3:6]
    perplexity, choice = submit(
        worker,
        job_of(Score(context=context, target=options[0], restrict=True)),
        job_of(Choose(context=context, options=options, restrict=False, against="context_free")),
    )
    assert perplexity == lvm.score(context, options[0], restrict=True)
    assert choice == lvm.choose(context, options, against="context_free")


def test_pictures_that_come_again_are_encoded_once(worker, lvm, pictures, pairs, monkeypatch):
    seen = []
    real = type(lvm.bundle.tokenizer).encode
    monkeypatch.setattr(
        type(lvm.bundle.tokenizer), "encode", lambda self, pixels: seen.append(len(pixels)) or real(self, pixels)
    )
    for numbers in ((6, 7, 6), (7, 6)):
        submit(worker, *(job_of(Analogy(pairs=pairs, query=pictures[number])) for number in numbers))
    assert sum(seen) == 6  # four of the pairs and two queries


def test_a_cancelled_job_is_dropped_and_its_neighbour_stays(worker, lvm, pictures, pairs, gate):
    leaving = job_of(Complete(images=pictures[:2], num_frames=8))
    staying = job_of(Analogy(pairs=pairs, query=pictures[4]), seed=1)
    for job in (leaving, staying):
        worker.check(job)
        worker.submit(job)
    assert gate.reached.wait(SECONDS)
    leaving.cancel()
    gate.set()
    assert np.array_equal(staying.result.result(SECONDS).codes, lvm.analogy(pairs, pictures[4], seed=1).codes)
    with pytest.raises(Cancelled):
        leaving.result.result(SECONDS)
    assert worker.num_codes < 32 and worker.state() == {"rows": 0, "waiting": 0}


def test_a_cancelled_exact_job_stops_between_two_codes(worker, pictures):
    reached, go = threading.Event(), threading.Event()

    def on_change():
        reached.set()
        assert go.wait(SECONDS)

    job = job_of(Complete(images=pictures[:2], num_frames=8), on_change, exact=True)
    worker.check(job)
    worker.submit(job)
    assert reached.wait(SECONDS)
    job.cancel()
    go.set()
    with pytest.raises(Cancelled):
        job.result.result(SECONDS)
    assert len(job.codes[0]) == workers.STEPS_A_TURN


def test_a_failure_of_the_pool_reaches_its_jobs_alone_and_passes(worker, lvm, pictures, pairs, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(workers.Pool, "step", lambda self: (_ for _ in ()).throw(RuntimeError("no memory")))
        with pytest.raises(RuntimeError, match="no memory"):
            submit(worker, job_of(Analogy(pairs=pairs, query=pictures[4])))
        assert submit(worker, job_of(Score(context=pictures[:2], target=pictures[3], restrict=False)))[0] > 0
    again = submit(worker, job_of(Analogy(pairs=pairs, query=pictures[4])))[0]
    assert np.array_equal(again.codes, lvm.analogy(pairs, pictures[4]).codes)


def test_what_does_not_fit_is_refused_before_it_waits(lvm, pictures):
    small = Worker({"tiny": lvm}, max_bytes=1000)
    with pytest.raises(ValueError, match="this server grants 0; ask for fewer candidates"):
        small.check(job_of(Complete(images=pictures[:2], num_frames=1)))
    with pytest.raises(ValueError, match="20 images and 1 more do not fit"):
        small.check(job_of(Complete(images=pictures[:20], num_frames=1)))
    with pytest.raises(ValueError, match="20 images and 1 more do not fit"):
        small.check(job_of(Score(context=pictures[:20], target=pictures[0], restrict=False)))


def test_jobs_that_do_not_fit_together_wait_for_each_other(lvm, pictures, pairs, monkeypatch):
    asked = [Analogy(pairs=pairs, query=pictures[number]) for number in range(4, 10)]
    jobs = [job_of(one, seed=number) for number, one in enumerate(asked)]
    probe = Worker({"tiny": lvm}, max_bytes=2**30)
    probe.check(jobs[0])
    worker = Worker({"tiny": lvm}, max_bytes=int(2.5 * jobs[0].bytes))
    together, step = [], workers.Pool.step
    monkeypatch.setattr(workers.Pool, "step", lambda pool: together.append(len(pool.rows)) or step(pool))
    for job in jobs:
        worker.check(job)
        worker.submit(job)
    worker.start()
    worker.stop()
    for number, job in enumerate(jobs):
        reference = lvm.analogy(pairs, pictures[4 + number], seed=number)
        assert np.array_equal(job.result.result().codes, reference.codes)
    assert max(together) == 2


def test_stopping_finishes_what_was_submitted(lvm, pictures, pairs):
    worker = Worker({"tiny": lvm}, max_bytes=2**30)
    jobs = [job_of(Analogy(pairs=pairs, query=pictures[4]), seed=seed, exact=seed % 2 == 0) for seed in range(6)]
    for job in jobs:
        worker.check(job)
        worker.submit(job)
    worker.start()
    worker.stop()
    assert all(job.result.done() and job.result.exception() is None for job in jobs)
