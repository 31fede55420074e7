"""The optimisers: what they ask for next, and what they make of the answers."""
