"""Making a project and trying it before it is merged: `platform new`, `platform check`, `platform test`."""

from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
"""Where the programs are imported from, whichever checkout they work on."""
