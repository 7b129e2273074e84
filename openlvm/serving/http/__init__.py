"""Requests and answers as they travel: bodies, limits, streams, metrics, and a page that says how to ask."""
