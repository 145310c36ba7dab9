"""Data within a page, packed: the browser unpacks it when it is needed."""

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

BLOCK = 100
"""Kernels in a packed block: what a browser unpacks when one of them is opened."""


def packed_json(data: Any) -> str:
    """JSON as `packed` text; numbers that are not finite become null, which browsers can read."""
    return packed(json.dumps(_finite(data), separators=(",", ":")))


def packed(content: str | bytes) -> str:
    """Text or bytes as gzip in base64; equal content gives equal text."""
    raw = content.encode() if isinstance(content, str) else content
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode("ascii")


def packed_blocks(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """JSON-ready items in packed blocks of BLOCK each: `{name: [value of each item]}`, null where it has none.

    Values of a name stand together because they resemble each other: gzip looks back no further than 32 KiB.
    """
    rest = iter(items)
    while part := list(islice(rest, BLOCK)):
        names = dict.fromkeys(name for item in part for name in item)
        yield packed_json({name: [item.get(name) for item in part] for name in names})


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if abs(data) < float("inf") else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
