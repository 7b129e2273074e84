"""What `build_mini_data.py` is made of: every usable object, stamps, people in motion, first-person films."""
