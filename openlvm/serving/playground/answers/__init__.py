"""What the page makes of an answer: HTML, its layers, and the call in Python that repeats it."""
