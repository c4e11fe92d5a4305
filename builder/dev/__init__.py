"""For those who work on it: suites and benchmarks. Reaches everything."""
