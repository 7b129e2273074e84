"""`CATALOG`: the rows of the talk's table, of DeLVM and of the evaluations, by name."""

from openlvm.sources.catalog.labelled import LABELLED
from openlvm.sources.catalog.moving import MOVING
from openlvm.sources.catalog.pictures import PICTURES
from openlvm.sources.catalog.restoration import RESTORATION
from openlvm.sources.catalog.row import Row

CATALOG: dict[str, Row] = {row.name: row for row in (*PICTURES, *RESTORATION, *LABELLED, *MOVING)}
"""Name -> row."""
