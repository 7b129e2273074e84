"""The catalogue: every dataset of LVM and DeLVM and those of their evaluations, as they lie on disk."""
