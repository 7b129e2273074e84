"""What watches a run: spikes of the loss, the band it was expected in, memory, rates."""
