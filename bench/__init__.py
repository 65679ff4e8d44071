"""Benchmarks. Each prints ratios taken in one run on one machine: `python -m bench [NAME...]`."""
