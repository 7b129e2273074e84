"""Layouts of published video datasets: films with classes, frames with annotations."""
