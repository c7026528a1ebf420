"""Recurrent inference machines and annealed optimisation for large inverse problems."""
