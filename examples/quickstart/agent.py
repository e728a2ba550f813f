#!/usr/bin/env python3
"""A whole agent: JSON in on stdin, JSON out on stdout. The argument says which step it performs."""

import json
import sys

task = json.load(sys.stdin)
if sys.argv[1] == "greet":
    answer = {"text": f"Hello, {task['name']}!"}
else:
    answer = {"letters": sum(letter.isalpha() for letter in task["text"])}
json.dump(answer, sys.stdout)
