"""Statistics that people can trust: scores, intervals and figures of reinforcement-learning runs."""
