"""A Groww Trade API server of its own, for the demo, tests and benchmarks."""
