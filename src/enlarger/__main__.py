"""The command ``enlarger``, which is the same as ``python -m enlarger``."""

from enlarger.memory import importing
from enlarger.streams import open_closed


def main() -> None:
    """Run the command line."""
    open_closed()
    with importing():
        from enlarger.cli import main as run

    run()


if __name__ == "__main__":
    main()
