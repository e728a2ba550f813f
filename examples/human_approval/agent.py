#!/usr/bin/env python3
"""Writes drafts and publishes them."""

import json
import sys

task = json.load(sys.stdin)
if sys.argv[1] == "draft":
    answer = {"text": f"All about {task['topic']}."}
else:
    answer = {"published": f"{task['text']} Approved by {task['by']}."}
json.dump(answer, sys.stdout)
