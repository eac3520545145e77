"""What a test that runs Spark needs."""

import shutil

import pytest

needs_java = pytest.mark.skipif(
    shutil.which("java") is None,
    reason="Spark runs on Java, which is a package of the system: `make test` installs Debian's as root or by sudo, "
    "and could not here (apt-get install default-jre-headless)",
)
