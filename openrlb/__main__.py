"""``openrlb`` and ``python -m openrlb``: Ctrl-C ends with 130 even while the program is still being imported."""

import sys


def main() -> None:
    """The console script."""
    try:
        from openrlb.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
