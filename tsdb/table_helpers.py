"""Helpers of kernels: the tables by which symbols are entropy-coded; see ``docs/format.md``."""

from typing import Any

import numpy as np

from series.jit import helper

SHARES = 1024
"""What the shares of the symbols of a table add up to."""
MOST_TABLES = 32
"""Of a frame; the last is good for all symbols."""
TABLE_BYTES = 8
_WEIGHT = 15.0
_LOGS = np.log2(np.maximum(np.arange(SHARES + 1), 1))
"""Binary logarithms of counts and shares, 0 for 0; of larger numbers they are computed."""


@helper
def _log(number: Any) -> Any:
    return _LOGS[number] if number < len(_LOGS) else np.log2(float(number))


@helper
def bits_of(counts: Any) -> Any:
    """The bits that as many symbols as *counts* says take at best."""
    total = 0
    bits = 0.0
    for symbol in range(16):
        total += counts[symbol]
        bits -= counts[symbol] * _log(counts[symbol])
    return bits + total * _log(total)


@helper
def _frequencies(weights: Any, at: Any, frequencies: Any) -> None:
    """``frequencies[at : at + 16]``: shares of 1024 in proportion to the squares of the weights."""
    total = 0
    most = 0
    for symbol in range(16):
        total += weights[at + symbol] * weights[at + symbol]
        if weights[at + symbol] > weights[at + most]:
            most = symbol
    rest = SHARES
    for symbol in range(16):
        square = weights[at + symbol] * weights[at + symbol]
        share = max(1, SHARES * square // total) if square > 0 else 0
        frequencies[at + symbol] = share
        rest -= share
    frequencies[at + most] += rest


@helper
def _table_bits(counts: Any, costs: Any, at: Any) -> Any:
    """The bits that the symbols take by a table; infinite where it lacks one of them."""
    bits = 0.0
    for symbol in range(16):
        if counts[symbol] > 0:
            bits += counts[symbol] * costs[at + symbol]
    return bits


@helper
def table_for(counts: Any, weights: Any, frequencies: Any, costs: Any, tables: Any) -> Any:
    """The number, from 1, of the best table; the one behind the last of *tables* is a new one.

    *costs* are the bits of a symbol by each table.
    """
    highest = np.int64(1)
    for symbol in range(16):
        highest = max(highest, counts[symbol])
    new = 16 * tables
    best = tables
    best_bits = np.inf
    for table in range(tables):
        bits = _table_bits(counts, costs, 16 * table)
        if bits < best_bits:
            best, best_bits = table, bits
    if tables == MOST_TABLES:
        return best + 1
    for symbol in range(16):
        weight = int(np.rint(_WEIGHT * np.sqrt(float(counts[symbol]) / float(highest))))
        weights[new + symbol] = max(1, weight) if counts[symbol] > 0 else 0
        if tables + 1 == MOST_TABLES:
            weights[new + symbol] = 1
    _frequencies(weights, new, frequencies)
    for symbol in range(16):
        share = frequencies[new + symbol]
        costs[new + symbol] = _LOGS[SHARES] - _LOGS[share] if share > 0 else np.inf
    if _table_bits(counts, costs, new) + 8.0 * TABLE_BYTES < best_bits:
        best = tables
    return best + 1
