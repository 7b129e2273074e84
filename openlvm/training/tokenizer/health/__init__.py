"""Is the training of a tokenizer healthy, and has it diverged?"""
