"""Rows of the catalogue: moving."""

from openlvm.sources.catalog.row import Row

MOVING: tuple[Row, ...] = ()
