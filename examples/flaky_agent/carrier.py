#!/usr/bin/env python3
"""A carrier that refuses everything for some seconds after the first call."""

import json
import pathlib
import sys
import time

task = json.load(sys.stdin)
first = pathlib.Path("first-call")
try:
    first.touch(exist_ok=False)
except FileExistsError:
    pass
if time.time() - first.stat().st_mtime < task["out_for"]:
    sys.exit("out of order")
json.dump({"sent": task["parcel"]}, sys.stdout)
