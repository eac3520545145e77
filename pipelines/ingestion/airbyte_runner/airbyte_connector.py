"""Runs a connector inside the connector's own environment, warm: ``python airbyte_connector.py MODULE``.

It imports the connector at once, while PyAirbyte is imported elsewhere, and starts when its arguments arrive on stdin
as one line of JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
from types import ModuleType

DOCUMENT_PARSER = "airbyte_cdk.sources.file_based.file_types.unstructured_parser"
GARBAGE_THRESHOLDS = (50_000, 20, 100)


def main() -> None:
    """Import the connector, wait for its arguments, run it."""
    gc.disable()
    _leave_out_document_parser()
    connector = importlib.import_module(sys.argv[1])
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
    arguments = sys.stdin.readline()
    if arguments:
        sys.argv = [sys.argv[1], *json.loads(arguments)]
        connector.run()


def _leave_out_document_parser() -> None:
    """Put an empty parser in the place of the one for PDF and Word files, which no declaration can ask for.

    Its import downloads language data, to a directory at the root of the file system.
    """
    module = ModuleType(DOCUMENT_PARSER)
    module.__dict__["UnstructuredParser"] = type("UnstructuredParser", (), {})
    sys.modules[DOCUMENT_PARSER] = module


if __name__ == "__main__":
    main()
