"""The published evaluations as suites: one file each, over the official datasets or over packaged data."""
