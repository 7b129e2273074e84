"""Datasets where a list, a table or an archive of their own says which pictures and labels belong together."""
