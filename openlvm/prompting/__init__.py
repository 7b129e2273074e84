"""Images in, images out: prompts, the engine that continues them, scoring, and the LVM facade."""
