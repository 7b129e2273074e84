"""Visual sentences: which images they are made of, and how annotations become images."""
