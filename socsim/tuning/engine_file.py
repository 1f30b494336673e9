"""Write a tuned engine as a file that inherits from the one that was tuned."""

from __future__ import annotations

from pathlib import Path

import tomlkit

from socsim.catalog import list_engines
from socsim.tuning.tune import Tuned


def engine_text(tuned: Tuned, engine: str, source: str) -> str:
    """Return the TOML text of the tuned engine.

    Parameters
    ----------
    tuned
        What was found.
    engine
        Name or file of the engine that was tuned, from which the new one inherits all else.
    source
        How the settings were found, which is what stands behind each of them.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment("Made by socsim tune; all else is as in the engine that it inherits from."))
    document["inherits"] = engine if engine in list_engines() else str(Path(engine).resolve())
    document["source"], document["kind"] = source, "assumed"
    document["description"] = f"{tuned.problem.engine.name}, tuned for {tuned.problem.llm.name} on {tuned.problem.soc.name}"
    tables: dict[str, dict[str, object]] = {}
    for changes in tuned.settings.values():
        for path, value in changes.items():
            table, _, field = path.rpartition(".")
            if isinstance(value, dict):
                tables.setdefault(path, {}).update(value)
            elif table:
                tables.setdefault(table, {})[field] = value
            else:
                document[path] = value
    for path, values in sorted(tables.items()):
        node = document
        for key in path.split("."):
            node = node.setdefault(key, tomlkit.table())
        node.update(values)
    return tomlkit.dumps(document)
