"""The benchmarks under pytest-benchmark."""

from tests.test_benchmarks import BENCHMARKS, run


def test_pytest_benchmark():
    """Each of its cases runs once."""
    report = run(
        *("-m", "pytest", "-o", "addopts=", "-q", "--benchmark-disable", "-p", "no:cacheprovider"),
        BENCHMARKS / "bench_layers.py",
    )
    assert "30 passed" in report
