"""The fault matrix as data: every row by name, in the order of the table."""

from proof.rows import closes, dials, goaways, handles, lines, quiet
from proof.scene import Row

ROWS: tuple[Row, ...] = (*closes.ROWS, *lines.ROWS, *dials.ROWS, *goaways.ROWS, *handles.ROWS, *quiet.ROWS)
