"""``python -m tests.fuzz NAME``: fuzzes one target and prints what it did as one line of JSON.

``--input HEX`` decodes one input instead. The exit code is 1 where something was found.
"""

import argparse
import json
import sys

from tests.fuzz.bounds import check_kernels


def main() -> int:
    """Rooms are imported only when it is known how their kernels are to be compiled."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=0, help="instead of seconds")
    parser.add_argument("--checked", action="store_true", help="kernels check every index")
    parser.add_argument("--slate", default="", help="a file for the input being decoded")
    parser.add_argument("--input", default=None, help="one input as hexadecimal digits")
    options = parser.parse_args()
    if options.checked:
        check_kernels()
    from tests.fuzz import loop
    from tests.fuzz.targets import corpus
    from tests.fuzz.targets import target as target_of

    target = target_of(options.name)
    if options.input is not None:
        print(target.outcome(bytes.fromhex(options.input)))
        return 0
    loop.limit_memory()
    report = loop.fuzz(
        target,
        corpus(target.name),
        options.seed,
        seconds=float("inf") if options.runs else options.seconds,
        runs=options.runs or 1 << 62,
        slate=loop.Slate(options.slate) if options.slate else None,
    )
    told: dict[str, object] = {"runs": report.runs}
    if report.finding is None:
        told |= {"seconds": round(report.seconds, 1), "outcomes": len(report.outcomes)}
    else:
        told |= {"data": report.finding.data.hex(), "error": report.finding.error}
    print(json.dumps(told))
    return 0 if report.finding is None else 1


if __name__ == "__main__":
    sys.exit(main())
