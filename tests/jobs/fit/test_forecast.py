"""The forecast grows with what is asked, and leaves the weights alone."""

from dataclasses import replace

import torch

from openlvm.bundle import load_bundle
from openlvm.jobs.fit.config import FitConfig
from openlvm.jobs.fit.folder import Pair, Split
from openlvm.jobs.fit.forecast import Forecast, forecast

PAIRS = Split(tuple(Pair(str(n), "", "") for n in range(9)), tuple(Pair(str(n), "", "") for n in range(9, 12)))


def test_forecast_adds_up():
    assert Forecast(asking=10.0, tokenizing=5.0, training=100.0).seconds == 125.0
    assert "2:05" in Forecast(asking=10.0, tokenizing=5.0, training=100.0).spelled


def test_forecast_grows_with_steps_and_questions_and_trains_nothing(lvm_at):
    bundle = load_bundle(lvm_at)
    before = [parameter.clone() for parameter in bundle.decoder.parameters()]
    config = FitConfig(steps=10, queries=0, replay=0.0)
    short = forecast(bundle, PAIRS, config)
    assert min(short.asking, short.tokenizing, short.training) > 0
    assert forecast(bundle, PAIRS, replace(config, steps=10_000)).training > 20 * short.training
    assert forecast(bundle, PAIRS, replace(config, replay=0.3)).tokenizing > short.tokenizing
    assert forecast(bundle, PAIRS, replace(config, queries=1000)).asking > short.asking
    assert all(torch.equal(a, b) for a, b in zip(before, bundle.decoder.parameters(), strict=True))
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in bundle.decoder.parameters())
