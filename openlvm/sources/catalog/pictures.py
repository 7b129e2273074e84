"""Rows of the catalogue: pictures."""

from openlvm.sources.catalog.row import Row

PICTURES: tuple[Row, ...] = ()
