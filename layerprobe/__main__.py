"""``python -m layerprobe``, and the command ``layerprobe``."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script. Ctrl-C is answered in one line also while the commands are imported."""
    try:
        from layerprobe.cli.main import main as run

        run()
    except KeyboardInterrupt:  # before there is a command
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
