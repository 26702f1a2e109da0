"""Which phrases count and when a prediction is right: the protocols, what they measure, and the trivial baselines."""
