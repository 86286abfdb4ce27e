"""Run one measurement of one peer: run.py MODULE OPTIONS_AS_JSON.

Prints one line of JSON. Every peer is an imported module, never
``__main__``, so that its functions pickle by name everywhere.
"""

import importlib
import json
import os
import sys


def main():
    """Pin to the cores, import the peer, measure, print."""
    options = json.loads(sys.argv[2])
    os.sched_setaffinity(0, options["cores"])
    peer = importlib.import_module(sys.argv[1])

    def report(result):
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()

    peer.measure(options, report)


if __name__ == "__main__":
    main()
