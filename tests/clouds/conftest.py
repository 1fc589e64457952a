"""One empty stand-in for each test, in the clouds' own environment. Not collected by the usual run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from control_plane.domain.isolation import Cloud
from tests.clouds.aws_cloud import aws_bench, end_moto
from tests.clouds.azure_cloud import azure_bench
from tests.clouds.bench import Bench
from tests.clouds.gcp_cloud import gcp_bench
from tests.clouds.ibm_cloud import ibm_bench
from tests.clouds.oci_cloud import oci_bench
from tests.support.slices import slice_items

BENCHES: Mapping[Cloud, Callable[[Path], AbstractContextManager[Bench]]] = {
    "aws": aws_bench,
    "azure": azure_bench,
    "gcp": gcp_bench,
    "oci": oci_bench,
    "ibm": ibm_bench,
}


# As in the usual run, whose conftest is not read here.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    slice_items(items)
    yield


@pytest.fixture(scope="session", autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_moto()


@pytest.fixture(params=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each cloud's stand-in in its turn."""
    with BENCHES[request.param](tmp_path) as one:
        yield one


@pytest.fixture
def bench_of(tmp_path: Path) -> Iterator[Callable[[Cloud], Bench]]:
    """`bench_of(cloud)`: the stand-in of that one."""
    with ExitStack() as stack:
        yield lambda cloud: stack.enter_context(BENCHES[cloud](tmp_path))
