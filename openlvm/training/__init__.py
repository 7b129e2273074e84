"""Learning: one loop, its objectives, optimizers, schedules and checkpoints."""
