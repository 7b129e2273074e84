"""The one thread that computes: draws together what may be drawn together, and does the rest one by one, in turns.

A turn: those whom nobody waits for go, new prompts join their pool, and every pool makes a few steps. What is answered
by itself goes on between two turns, a few codes or a batch of rows at a time, and lets those who are to be answered by
themselves too, and draw less, through in between. So nobody waits for a long neighbour longer than a short one takes.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch

from openlvm.prompting.drawing import answers_of
from openlvm.prompting.engine.generate import ROWS_AT_ONCE, Continuations, OnRowCodes
from openlvm.prompting.lvm import LVM
from openlvm.prompting.prompts import check_room, code_row
from openlvm.prompting.sampling import row_seeds
from openlvm.serving.work.asked import Cancelled, Choose, Drawing, Job, Score
from openlvm.serving.work.encoding import Encoder
from openlvm.serving.work.pool import Pool, Row
from openlvm.serving.work.room import need_of

STEPS_A_TURN = 8
"""Codes of each row between two looks at who came and who left: a row of codes of the LVM that ships. A change of
company costs about one step, so newcomers wait little and the drawing loses an eighth at most."""

LONG = 16
"""Pictures, frames of all candidates, beyond which who draws by itself lets others through: as many as one request has
candidates at most, some seconds of the LVM that ships."""

log = logging.getLogger("openlvm.serving")


@dataclass(eq=False)
class _Table:
    """An LVM, and who is drawn together on it."""

    lvm: LVM
    pool: Pool
    encoder: Encoder
    waiting: deque[Job]
    """To join the pool."""
    running: dict[Job, list[Row]]
    """In the pool, with a row for each candidate."""


class Worker:
    """Answers jobs in a thread of its own.

    Args:
        lvms: by the names that jobs ask for.
        max_bytes: keys, values and activations of what is drawn together.
    """

    def __init__(self, lvms: Mapping[str, LVM], *, max_bytes: int):
        self.lvms, self.max_bytes = dict(lvms), max_bytes
        self._tables = {name: _table(lvm) for name, lvm in self.lvms.items()}
        self._alone: deque[Job] = deque()
        self._long: deque[Job] = deque()
        self._new: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._stopping = False
        self.num_codes, self.num_steps = 0, 0
        """Codes drawn and steps made since the beginning, for metrics."""
        self._thread = threading.Thread(target=self._work, name="openlvm-worker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was submitted, then end."""
        self._new.put(None)
        self._thread.join()

    def check(self, job: Job) -> None:
        """Refuse what does not fit the context or the memory, before it waits."""
        bundle = self.lvms[job.lvm].bundle
        if isinstance(job.asked, Score | Choose):
            check_room(bundle, len(job.asked.context), 1)
            return
        assert job.way is not None
        job.bytes, job.is_alone = need_of(bundle, job.asked, job.way)
        if job.bytes > self.max_bytes:
            raise ValueError(
                f"the answer may take {job.bytes / 2**20:,.0f} MiB, this server grants {self.max_bytes / 2**20:,.0f}; "
                "ask for fewer candidates, frames or orders, or show fewer pictures"
            )

    def submit(self, job: Job) -> None:
        """Hand in a job that was checked; its result tells when it is done."""
        self._new.put(job)

    def state(self) -> dict[str, int]:
        """How much there is, for metrics: rows drawn together, jobs that wait."""
        tables = list(self._tables.values())
        waiting = [self._alone, self._long, *(table.waiting for table in tables)]
        return {
            "rows": sum(len(table.pool.rows) for table in tables),
            "waiting": sum(len(jobs) for jobs in waiting) + self._new.qsize(),
        }

    # ------------------------------------------------------------------------------------------------- the thread

    def _work(self) -> None:
        while not self._stopping or self._has_work():
            self._turn(wait=not self._has_work() and not self._stopping)
            if by_themselves := self._alone or self._long:
                self._answer_alone(by_themselves.popleft())

    def _has_work(self) -> bool:
        together = any(table.waiting or table.running for table in self._tables.values())
        return together or bool(self._alone or self._long)

    def _turn(self, *, wait: bool = False) -> None:
        """Those who came join, those who left go, and all who are drawn together make a few steps.

        Args:
            wait: for somebody to come, when there is nothing to do.
        """
        self._take_in(wait)
        self._drop_gone()
        for table in self._tables.values():
            self._let_join(table)
            if table.running:
                self._draw(table)

    def _take_in(self, wait: bool) -> None:
        """Jobs that were submitted; the first of them is waited for if `wait`."""
        while True:
            try:
                job = self._new.get(block=wait)
            except queue.Empty:
                return
            wait = False
            if job is None:
                self._stopping = True
            elif job.is_alone:
                (self._long if _is_long(job) else self._alone).append(job)
            else:
                self._tables[job.lvm].waiting.append(job)

    def _drop_gone(self) -> None:
        """Let go of jobs that nobody waits for."""
        self._alone, self._long = (deque(filter(self._is_wanted, jobs)) for jobs in (self._alone, self._long))
        for table in self._tables.values():
            table.waiting = deque(job for job in table.waiting if self._is_wanted(job))
            gone = [job for job in table.running if not self._is_wanted(job)]
            if gone:
                rows = [row for job in gone for row in table.running.pop(job)]
                self._try(table, partial(table.pool.change, leaving=rows))

    def _is_wanted(self, job: Job) -> bool:
        if not job.is_cancelled:
            return True
        job.result.set_exception(Cancelled())
        return False

    def _answer_alone(self, job: Job) -> None:
        """One that is measured, or drawn by itself: a call of the LVM, with turns of all others within it."""
        lvm = self.lvms[job.lvm]
        try:
            if isinstance(job.asked, Score | Choose):
                job.result.set_result(job.asked.measure(lvm, lambda _: self._go_on(job)))
                return
            assert job.way is not None and isinstance(job.asked, Drawing)
            job.result.set_result(job.asked.ask(lvm, **job.way.wishes, on_codes=self._note_codes(job)))
        except Exception as error:
            job.result.set_exception(error)

    def _note_codes(self, job: Job) -> OnRowCodes:
        """What a job that is drawn by itself is told of its codes with."""
        early: dict[tuple[int, int], int] = {}  # (candidate, place) -> code, drawn before one at an earlier place

        def on_codes(numbers: list[tuple[int, int]], places: torch.Tensor, codes: torch.Tensor) -> None:
            if job.is_cancelled:
                raise Cancelled
            before = len(job.codes[numbers[0][1]])
            for (_, candidate), row in zip(numbers, codes.tolist(), strict=True):
                early.update(zip(((candidate, place) for place in places.tolist()), row, strict=True))
                own = job.codes[candidate]
                while (candidate, len(own)) in early:
                    own.append(early.pop((candidate, len(own))))
                self.num_codes += len(row)
            if len(job.codes[numbers[0][1]]) // STEPS_A_TURN > before // STEPS_A_TURN:
                job.tell()
                self._go_on(job)

        return on_codes

    def _go_on(self, job: Job) -> None:
        """Between two parts of an answer: nobody may wait for it any more, and others have their turn."""
        self._turn()
        if _is_long(job) and self._alone and not job.is_cancelled:
            self._answer_alone(self._alone.popleft())
        if job.is_cancelled:
            raise Cancelled

    def _let_join(self, table: _Table) -> None:
        """Prompts that wait and fit beside those that run: their pictures are encoded, and they join."""
        taken = sum(job.bytes for job in table.running)
        rows = len(table.pool.rows)
        joining: list[Job] = []
        while table.waiting:
            job = table.waiting[0]
            assert job.way is not None
            is_first = not table.running and not joining
            too_many = rows + job.way.num_candidates > ROWS_AT_ONCE or taken + job.bytes > self.max_bytes
            if too_many and not is_first:
                break
            joining.append(table.waiting.popleft())
            rows, taken = rows + job.way.num_candidates, taken + job.bytes
        if not joining:
            return
        try:
            rows_of = _rows_of(table, joining)
            table.pool.change(joining=[row for rows in rows_of.values() for row in rows])
        except Exception as error:
            for job in joining:
                job.result.set_exception(error)
            return
        table.running |= rows_of

    def _draw(self, table: _Table) -> None:
        """A few steps of the pool; jobs that are whole get their answers."""
        for _ in range(STEPS_A_TURN):
            if not table.running:
                return
            before = len(table.running)
            self._try(table, partial(self._step, table))
            if len(table.running) != before and (table.waiting or not self._new.empty()):
                return
        for job in table.running:
            job.tell()

    def _step(self, table: _Table) -> None:
        done = set(table.pool.step())
        self.num_steps += 1
        self.num_codes += len(table.pool.rows)
        if done:
            table.pool.change(leaving=done)
            whole = {job: rows for job, rows in table.running.items() if done.issuperset(rows)}
            for job in whole:
                del table.running[job]
            _finish(table, whole)

    def _try(self, table: _Table, act: Callable[[], None]) -> None:
        """Do it; if it fails, so do all who are drawn together on this LVM."""
        try:
            act()
        except Exception as error:
            failed = list(table.running)
            table.running.clear()
            table.pool.abandon()
            for job in failed:
                job.result.set_exception(error)
            if not failed:
                log.exception("drawing failed")


def _is_long(job: Job) -> bool:
    """It draws many pictures."""
    return (
        isinstance(job.asked, Drawing) and job.way is not None and job.way.num_candidates * job.asked.num_frames > LONG
    )


def _table(lvm: LVM) -> _Table:
    bundle = lvm.bundle
    pool = Pool(bundle.decoder, num_codes=bundle.tokenizer.codebook_size)
    return _Table(lvm=lvm, pool=pool, encoder=Encoder(bundle.tokenizer), waiting=deque(), running={})


def _rows_of(table: _Table, jobs: list[Job]) -> dict[Job, list[Row]]:
    """A row for each candidate of jobs that are drawn; their chance is that of prompt 0 of a call of the LVM."""
    bundle = table.lvm.bundle
    num_each = bundle.tokenizer.codes_per_image
    shown = [job.asked.shown for job in jobs if isinstance(job.asked, Drawing)]
    codes = table.encoder([picture for pictures in shown for picture in pictures])
    rows: dict[Job, list[Row]] = {}
    for job, images in zip(jobs, codes.split([len(pictures) for pictures in shown]), strict=True):
        assert job.way is not None and isinstance(job.asked, Drawing)
        prompt = code_row(images, bundle.special.bos)
        seeds = row_seeds(job.way.seed, [0], job.way.num_candidates)
        num_new = job.asked.num_frames * num_each
        rows[job] = [
            Row(prompt, num_each, seed, job.way.sampling, num_new, codes=drawn)
            for seed, drawn in zip(seeds, job.codes, strict=True)
        ]
    return rows


def _finish(table: _Table, whole: Mapping[Job, list[Row]]) -> None:
    """Answers of jobs whose rows are all drawn; those of one form are read out together."""

    def form(job: Job) -> tuple[Any, ...]:
        assert isinstance(job.asked, Drawing)
        return len(whole[job]), job.asked.num_frames, job.asked.has_query

    for (_, _, has_query), group in groupby(sorted(whole, key=form), key=form):
        jobs = list(group)
        drawn = Continuations(
            torch.tensor([[row.codes for row in whole[job]] for job in jobs]),
            *(
                torch.from_numpy(np.array([[getattr(row, name) for row in whole[job]] for job in jobs], np.float32))
                for name in ("log_probs", "entropies")
            ),
        )
        num_each = table.lvm.bundle.tokenizer.codes_per_image
        queries = torch.stack([whole[job][0].prompt[-num_each:] for job in jobs]) if has_query else None
        try:
            for job, answer in zip(jobs, answers_of(table.lvm.bundle, drawn, queries=queries), strict=True):
                job.result.set_result(answer)
        except Exception as error:
            for job in jobs:
                if not job.result.done():
                    job.result.set_exception(error)
