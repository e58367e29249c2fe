"""Renders that several tests read."""

import pytest

from tests.k8s import charts
from tests.k8s.charts import Objects


@pytest.fixture(scope="session")
def gpu() -> Objects:
    """The chart as AWS gets it."""
    return charts.triton()


@pytest.fixture(scope="session")
def cpu() -> Objects:
    """The chart as kind gets it."""
    return charts.triton(values=(charts.CONTRACT, charts.CPU))


@pytest.fixture(scope="session")
def s3() -> Objects:
    """The chart with its models in a bucket."""
    return charts.triton(
        "modelRepository.source=s3",
        "modelRepository.s3.bucket=gpu-e2e-artifacts",
        "modelRepository.s3.region=us-east-1",
    )
