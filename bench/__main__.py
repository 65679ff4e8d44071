"""`python -m bench [NAME...]`: all benchmarks, or those named."""

from __future__ import annotations

import importlib
import sys

NAMES = ("ingest", "delivery", "memory", "rules", "pages")


def main() -> None:
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            sys.exit(f"there is no benchmark '{name}'; there are {', '.join(NAMES)}")
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
