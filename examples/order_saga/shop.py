#!/usr/bin/env python3
"""A shop. Whatever it does is a file in `shop`, named by the idempotency key: to do it twice, or to
make good what was never done, changes nothing."""

import json
import os
import pathlib
import sys

task = json.load(sys.stdin)
if task["do"] == task.get("broken"):
    sys.exit(f"{task['do']} is broken")

# A compensation is told the key of the step that it makes good.
key = os.environ.get("SKEP_COMPENSATES") or os.environ["SKEP_IDEMPOTENCY_KEY"]
fact = pathlib.Path("shop", key.replace("/", "_"))
fact.parent.mkdir(exist_ok=True)

if "SKEP_COMPENSATES" in os.environ:
    fact.unlink(missing_ok=True)
    answer = {"done": task["do"]}
else:
    fact.write_text(task["do"])
    answer = {
        "reserve": lambda: {"reservation": "R7", "amount": 5 * len(task["items"])},
        "charge": lambda: {"payment": f"P{task['amount']}"},
        "pack": lambda: {"parcel": f"a box of {task['item']}"},
        "ship": lambda: {"tracking": f"{len(task['parcels'])} parcels"},
        "thank": lambda: {},
    }[task["do"]]()
json.dump(answer, sys.stdout)
