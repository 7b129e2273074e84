"""Event files hold what the lines of metrics hold, read back by TensorBoard itself; a resumed run hides lost steps."""

import sys

import pytest
from training_toys import ToyTask, toy_config

from openlvm.core.runs import read_metrics
from openlvm.training.loop import train
from openlvm.training.tensorboard import scalars_of


def test_scalars_are_the_numbers_of_a_line():
    line = {"step": 3, "loss": 2.0, "parts": {"a": 1.5, "b": None}, "alarms": ["x"], "timing": {"mfu": None, "s": 1}}
    assert dict(scalars_of(line)) == {"loss": 2.0, "parts/a": 1.5, "timing/s": 1}


def test_events_roundtrip_and_resume(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = toy_config(tensorboard=True)

    class Dying(ToyTask):
        def after_step(self, step: int) -> None:
            super().after_step(step)
            if step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, Dying(), tmp_path)
    train(config, ToyTask(), tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    told = {event.step: event.value for event in events.Scalars("loss")}
    assert told == {line["step"]: pytest.approx(line["loss"], rel=1e-6) for line in read_metrics(tmp_path)}
    assert len(events.Scalars("loss")) == 12 and "parts/even" in events.Tags()["scalars"]


def test_tensorboard_rejects_a_missing_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install openlvm\[tensorboard\]"):
        train(toy_config(tensorboard=True), ToyTask(), tmp_path)
