"""Annotators that are MediaPipe's models for people (Apache-2.0), run by LiteRT on the CPU."""
