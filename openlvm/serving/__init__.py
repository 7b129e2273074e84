"""LVMs over HTTP: programs and people ask with pictures, many at once, and nobody can break it for the others."""
