"""``python -m enlarger``: the same as the command ``enlarger``."""

from enlarger.cli import main

if __name__ == "__main__":
    main()
