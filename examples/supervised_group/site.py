#!/usr/bin/env python3
"""A shop in the net that forgets its first sessions."""

import json
import os
import sys

task = json.load(sys.stdin)
match task["do"]:
    case "login":
        answer = {"session": int(os.environ["SKEP_ATTEMPT"])}    # attempt numbers go on when a step starts again
    case "search":
        answer = {"offer": f"honey, seen in session {task['session']}"}
    case "order":
        if task["session"] <= task["lost"]:
            sys.exit(f"session {task['session']} is lost")
        answer = {"bought": task["offer"]}
json.dump(answer, sys.stdout)
