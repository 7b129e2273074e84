"""Jobs are answered as the LVM answers them, in any company; who left is dropped, and a failure stays where it is."""

import threading

import numpy as np
import pytest
import torch

from openlvm.prompting import scoring
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


WAYS = {
    "beyond the context": ("complete", {"num_frames": 20}),
    "slide": ("complete", {"given": 20, "num_frames": 3, "slide": True}),
    "keep": ("complete", {"given": 20, "num_frames": 20, "slide": True, "keep": 5}),
    "slide to what fits": ("complete", {"given": 20, "num_frames": 3, "slide": True, "keep": 4}),
    "reuse": ("complete", {"num_frames": 20, "keep": 6, "reuse": True}),
    "reuse of nothing": ("complete", {"num_frames": 2, "reuse": True}),
    "ensemble": ("analogy", {"ensemble": 2}),
    "fast complete": ("complete", {"num_frames": 5, "fast": True}),
    "fast analogy": ("analogy", {"fast": True}),
    "ahead": ("complete", {"num_frames": 4, "ahead": 1}),
}
"""What the pool cannot draw."""
NOT_EXACT = {"ensemble", "fast complete", "fast analogy", "ahead"}


def alone(lvm, pictures, pairs, name, on_change=None, **how):
    """A job of `WAYS`, and the call of the LVM that it is."""
    verb, given = WAYS[name]
    of_way = {key: given[key] for key in ("fast", "ahead") if key in given} | how
    of_asked = {key: value for key, value in given.items() if key not in ("given", "fast", "ahead")}
    if verb == "analogy":
        job = job_of(Analogy(pairs=pairs, query=pictures[4], **of_asked), on_change, **of_way)
        return job, lambda: lvm.analogy(pairs, pictures[4], **of_asked, **of_way)
    images = pictures[: given.get("given", 5)]
    job = job_of(Complete(images=images, **of_asked), on_change, **of_way)
    return job, lambda: lvm.complete(images, **of_asked, **of_way)


@pytest.mark.parametrize("name", WAYS)
def test_what_the_pool_cannot_draw_has_the_bits_of_the_lvm_in_company(worker, lvm, pictures, pairs, name):
    for exact in (False,) if name in NOT_EXACT else (False, True):
        job, call = alone(lvm, pictures, pairs, name, num_candidates=3, seed=6, exact=exact)
        others = [job_of(Complete(images=pictures[2:6], num_frames=9), seed=seed) for seed in range(3)]
        answers, expected = submit(worker, job, *others), call()
        for field in ("codes", "images", "log_probs", "entropies", "numbers", "gain", "reuse_error"):
            assert np.array_equal(getattr(answers[0], field), getattr(expected, field)), field
        in_turn = {int(number): codes for number, codes in zip(expected.numbers, expected.codes, strict=True)}
        assert [own == in_turn[number].flatten().tolist() for number, own in enumerate(job.codes)] == [True] * 3
        for seed, other in enumerate(answers[1:]):
            assert np.array_equal(other.codes, lvm.complete(pictures[2:6], num_frames=9, seed=seed).codes)


@pytest.mark.parametrize("name", WAYS)
def test_a_cancelled_job_stops_in_every_way_of_drawing(worker, lvm, pictures, pairs, name, monkeypatch):
    monkeypatch.setattr(workers, "STEPS_A_TURN", 1)
    job, _ = alone(lvm, pictures, pairs, name, lambda: job.cancel(), num_candidates=2)
    with pytest.raises(Cancelled):
        submit(worker, job)
    assert 1 <= worker.num_codes <= 34  # those of a first step (two rows), or of a first window


def test_a_job_is_cancelled_before_its_next_code(worker, pictures, monkeypatch):
    def ask(self, lvm, *, on_codes, **how):
        for place in range(4):
            on_codes([(0, 0)], torch.tensor([place]), torch.tensor([[7]]))
            job.cancel()

    monkeypatch.setattr(Complete, "ask", ask)
    job = job_of(Complete(images=pictures[:3], num_frames=1), exact=True)
    with pytest.raises(Cancelled):
        submit(worker, job)
    assert job.codes == [[7]]


def test_codes_drawn_ahead_are_told_in_order(worker, pictures, monkeypatch):
    """Rows of four codes, each one code ahead of the next: place 4 is drawn before place 3."""
    steps = [[0], [1, 4], [2, 5, 8], [3, 6, 9, 12], [7, 10, 13], [11, 14], [15]]

    def ask(self, lvm, *, on_codes, **how):
        for places in steps:
            on_codes([(0, 0), (0, 1)], torch.tensor(places), torch.tensor([places, [100 + one for one in places]]))

    monkeypatch.setattr(workers, "STEPS_A_TURN", 1)
    monkeypatch.setattr(Complete, "ask", ask)
    told = []
    job = job_of(
        Complete(images=pictures[:3], num_frames=4), lambda: told.append(len(job.codes[0])), num_candidates=2, ahead=1
    )
    submit(worker, job)
    assert told == [1, 2, 3, 7, 11, 15, 16]
    assert job.codes == [list(range(16)), list(range(100, 116))]


def test_others_are_drawn_while_one_is_drawn_by_itself(worker, lvm, pictures, pairs):
    started, ended = threading.Event(), []
    long = job_of(Complete(images=pictures[:4], num_frames=60), started.set)
    other = job_of(Analogy(pairs=pairs, query=pictures[4]), seed=1)
    for job in (long, other):
        worker.check(job)
    long.result.add_done_callback(lambda _: ended.append("long"))
    other.result.add_done_callback(lambda _: ended.append("other"))
    worker.submit(long)
    assert started.wait(SECONDS)
    worker.submit(other)
    assert np.array_equal(other.result.result(SECONDS).codes, lvm.analogy(pairs, pictures[4], seed=1).codes)
    assert np.array_equal(long.result.result(SECONDS).codes, lvm.complete(pictures[:4], num_frames=60).codes)
    assert ended == ["other", "long"]


def test_a_long_one_lets_those_through_who_draw_less_by_themselves(worker, lvm, pictures, pairs):
    started, ended = threading.Event(), []
    jobs = {
        "long": job_of(Complete(images=pictures[:4], num_frames=60), started.set, exact=True),
        "long too": job_of(Complete(images=pictures[:4], num_frames=17), num_candidates=1),
        "exact": job_of(Analogy(pairs=pairs, query=pictures[4]), seed=1, exact=True),
        "score": job_of(Score(context=pictures[:2], target=pictures[3], restrict=False)),
    }
    for name, job in jobs.items():
        worker.check(job)
        job.result.add_done_callback(lambda _, name=name: ended.append(name))
    worker.submit(jobs["long"])
    assert started.wait(SECONDS)
    for name in ("long too", "exact", "score"):
        worker.submit(jobs[name])
    answers = {name: job.result.result(SECONDS) for name, job in jobs.items()}
    assert ended == ["exact", "score", "long", "long too"]
    frames = lvm.complete(pictures[:4], num_frames=60, exact=True)
    assert np.array_equal(answers["long"].log_probs, frames.log_probs)
    assert np.array_equal(answers["exact"].log_probs, lvm.analogy(pairs, pictures[4], seed=1, exact=True).log_probs)
    assert worker.state() == {"rows": 0, "waiting": 0}


def test_short_ones_are_answered_by_themselves_in_the_order_they_came(lvm, pictures):
    worker, ended = Worker({"tiny": lvm}, max_bytes=2**30), []
    for number in range(4):
        job = job_of(Complete(images=pictures[:4], num_frames=5), exact=True)
        job.result.add_done_callback(lambda _, number=number: ended.append(number))
        worker.check(job)
        worker.submit(job)
    worker.start()
    worker.stop()
    assert ended == [0, 1, 2, 3]


@pytest.mark.parametrize("against", ["context", "context_free"])
def test_a_cancelled_measurement_stops_before_its_next_rows(worker, pictures, against, monkeypatch):
    monkeypatch.setitem(scoring.CODES_AT_ONCE, "cpu", 1)
    job = job_of(Choose(context=pictures[:3], options=pictures[3:9], restrict=False, against=against))
    real, measured, leaves_at = scoring.option_log_probs, [], 3 if against == "context" else 6

    def measure(*given, **how):
        measured.append(given)
        if len(measured) == leaves_at:
            job.cancel()
        return real(*given, **how)

    monkeypatch.setattr(scoring, "option_log_probs", measure)
    with pytest.raises(Cancelled):
        submit(worker, job)
    assert len(measured) == leaves_at
    assert submit(worker, job_of(Score(context=pictures[:2], target=pictures[3], restrict=False)))[0] > 0


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
