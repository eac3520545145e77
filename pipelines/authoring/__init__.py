"""Making a project and trying it before it is merged: `platform new`, `platform check`, `platform test`."""
