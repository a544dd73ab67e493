"""The command ``enlarger``, which is the same as ``python -m enlarger``."""

from enlarger.memory import importing
from enlarger.streams import open_closed


def main() -> None:
    """Run the command line."""
    open_closed()
    try:
        with importing():
            from enlarger.cli import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # as `run` does later

    run()


if __name__ == "__main__":
    main()
