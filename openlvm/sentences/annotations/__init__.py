"""Annotations as pictures and back, one file for each family: planes, motion, people, boxes."""
