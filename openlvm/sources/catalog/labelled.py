"""Rows of the catalogue: labelled."""

from openlvm.sources.catalog.row import Row

LABELLED: tuple[Row, ...] = ()
