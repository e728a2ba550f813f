#!/usr/bin/env python3
"""Works, and writes down when it begins and ends; in the midst of it, it may kill its parent: skep."""

import json
import os
import pathlib
import signal
import sys

task = json.load(sys.stdin)
step = os.environ["SKEP_STEP"]
log = pathlib.Path("work.log")

killed = log.read_text().count(f"begin {step}\n") if log.exists() else 0
with log.open("a") as lines:
    lines.write(f"begin {step}\n")
if killed < task.get("kills", 0):
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit()
with log.open("a") as lines:
    lines.write(f"end {step}\n")
json.dump({"killed": killed}, sys.stdout)
