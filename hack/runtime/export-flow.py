"""Writes a flow script's `graph` as Langflow JSON: export-flow.py SCRIPT NAME TARGET.

lfx's own Graph.dump masks secret values, so what it writes can be stored as an artifact.
"""

import json
import runpy
import sys
from pathlib import Path

script, name, target = sys.argv[1:4]
graph = runpy.run_path(script)["graph"]
graph.prepare()
document = graph.dump(name=name, description=f"built from {Path(script).name}")
Path(target).write_text(json.dumps(document, sort_keys=True), encoding="utf-8")
