"""Benchmarks of priors."""
