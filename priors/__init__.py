"""Priors for inverse problems, from theory and from data, with explicit likelihoods."""
