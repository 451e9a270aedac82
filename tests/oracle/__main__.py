"""Read verdict documents as JSON lines and write one answer a line."""

import json
import sys

from .accept import judge
from .json_reader import integer


def main() -> None:
    """Judge each line of standard input; what is no JSON is unusable."""
    for line in sys.stdin.buffer:
        try:
            answer = judge(json.loads(line, parse_int=integer))
        except (ValueError, RecursionError):
            answer = {"verdict": "unusable", "accepted": [], "filled": 0,
                      "reasons": {"document": "it is not JSON"}}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
