"""The nouns everything else is made of: records, images, seeds, files, run folders, ranks."""
