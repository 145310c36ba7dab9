"""Data within a page: plain JSON that is read at once, and packed JSON that is unpacked when it is asked for."""

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

BLOCK = 100
"""Kernels in a packed block: what a browser unpacks when one of them is opened."""


def inline_json(data: Any) -> str:
    """JSON that can stand in a `<script>` element, whatever texts are in it.

    Numbers that are not finite become null, which browsers can read.
    """
    return json.dumps(_finite(data), separators=(",", ":")).replace("<", "\\u003c")


def packed(content: str | bytes) -> str:
    """Text or bytes as gzip in base64; equal content gives equal text."""
    raw = content.encode() if isinstance(content, str) else content
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode("ascii")


def packed_blocks(items: Iterable[Any]) -> Iterator[str]:
    """JSON-ready items in packed lists of BLOCK each."""
    rest = iter(items)
    while part := list(islice(rest, BLOCK)):
        yield packed(json.dumps(_finite(part), separators=(",", ":")))


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if abs(data) < float("inf") else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
