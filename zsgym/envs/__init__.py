"""Sizing as a reinforcement-learning problem: one batched core, three faces (Gymnasium, Gymnasium vector, SB3)."""
