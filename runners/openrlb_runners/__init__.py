"""Training in pinned environments, and the contract a runner keeps."""
