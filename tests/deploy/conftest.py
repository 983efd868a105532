"""One running relay for the tests of this package."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy import files
from tests.support import relay_process


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A relay started with the command of the compose file's demo, on free ports of the loopback."""
    command = [*files.services()["demo"]["command"], "--set", "listen.host=127.0.0.1", "--set", "admin.host=127.0.0.1"]
    log = tmp_path_factory.mktemp("demo") / "stderr.log"
    with relay_process(log, *command, "--set", "listen.port=0", "--set", "admin.port=0") as ready:
        yield ready
