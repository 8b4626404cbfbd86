"""The longest silence of a command whose output goes into a pipe, in seconds.

    python benchmarks/silence.py layerprobe rank r56.h5 --statistics all --resamples 1000

The first silence is that from the start to the first line, the last that to the end. Prints one line for a table, and
ends with the command's exit code.
"""

from __future__ import annotations

import subprocess
import sys
import time


def main() -> None:
    command = sys.argv[1:]
    if not command:
        sys.exit("name the command after the script: python benchmarks/silence.py layerprobe rank FILE")
    begun = last = time.monotonic()
    longest, lines = 0.0, 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as process:
        for _ in process.stdout or ():
            now = time.monotonic()
            longest, last, lines = max(longest, now - last), now, lines + 1
    now = time.monotonic()
    longest = max(longest, now - last)
    print(f"| `{' '.join(command)}` | {now - begun:.0f} | {lines} | {longest:.1f} |")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
