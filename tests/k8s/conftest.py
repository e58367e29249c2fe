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
    s3 = ("source=s3", "s3.bucket=gpu-e2e-artifacts", "s3.region=us-east-1")
    return charts.triton(*(f"modelRepository.{setting}" for setting in s3))
