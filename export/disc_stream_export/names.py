"""Names for clusters, from a YAML or JSON file that maps ids to names."""

from __future__ import annotations

from pathlib import Path

import yaml

from disc_stream.errors import ConfigError, InputNotFoundError

_REMEDY = "Write one 'ID: NAME' per line, such as '0: walking'"


def load_names(path: Path) -> dict[int, str]:
    """Read cluster names; JSON is read too, being YAML.

    Raises:
        InputNotFoundError: if there is no such file.
        ConfigError: if it is not a mapping of cluster ids to names, naming the entry.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"names file {str(path)!r} does not exist", remedy="Check the path"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"names file {str(path)!r} cannot be read as text", remedy=_REMEDY) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date that does not exist
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise ConfigError(f"names file {str(path)!r} is not YAML or JSON{where}", remedy=_REMEDY) from error
    if not isinstance(raw, dict):
        raise ConfigError(f"names file {str(path)!r} does not map ids to names", remedy=_REMEDY)
    names: dict[int, str] = {}
    for key, value in raw.items():
        number = _cluster_id(key)
        if number is None or not isinstance(value, str):
            raise ConfigError(
                f"names file {str(path)!r}: {key!r}: {value!r} is no id and name", remedy=_REMEDY
            )
        if number in names:
            raise ConfigError(f"names file {str(path)!r} names cluster {number} twice", remedy=_REMEDY)
        names[number] = value
    return names


def _cluster_id(key: object) -> int | None:
    """A cluster id, written as a number or, as JSON must, as a string of digits."""
    if isinstance(key, bool):
        return None
    if isinstance(key, int):
        return key
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else None
