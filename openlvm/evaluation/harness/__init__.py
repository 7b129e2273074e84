"""One harness for every suite: frozen episodes, any predictor, additive scores, runs that go on where they stopped."""
