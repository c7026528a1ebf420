"""Likelihood-free inference: learned summaries, neural densities, calibrated posteriors."""
