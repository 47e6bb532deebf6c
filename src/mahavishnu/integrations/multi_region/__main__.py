"""``python -m mahavishnu.integrations.multi_region``: the same as the command ``multi-region``."""

from .surfaces.cli.main import main

if __name__ == "__main__":
    main()
