"""What `build_sample_pack.py` is made of: packages, the choice of objects, the renderer, the files written."""
