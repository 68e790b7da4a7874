"""One set of servers for the tests of a file; it does not run on beside other files."""

from collections.abc import Iterator

import pytest

from tests.support.prefect import Stack
from tests.support.prefect import stack as started


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("stack")) as made:
        yield made
