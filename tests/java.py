"""What a test that runs Spark needs."""

import shutil

import pytest

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java (tools/java.sh installs it)")
