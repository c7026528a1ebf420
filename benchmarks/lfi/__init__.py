"""Benchmarks of likelihood-free inference."""
