"""``python -m openrlb``."""

from openrlb.cli.app import main

if __name__ == "__main__":
    main()
