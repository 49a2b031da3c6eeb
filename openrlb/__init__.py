"""What others got, what you get, how good it can get honestly, and which is better."""
