"""Reports on the running server: its settings, what it can do, what an organization holds.

Shapes as in web/api/v1/api.go of Prometheus 3.14; what belongs to Go's runtime stays empty.
"""

import asyncio
import os
import platform
import socket
from datetime import UTC, datetime
from typing import Any

import numpy as np

from promql.functions import AGGREGATORS, FUNCTIONS
from series.durations import format_duration_ms
from series.frame import LabelFrame
from series.labels import METRIC_NAME
from series.ports import Hints
from server.access import tenants
from server.access.query_limits import check_queue, readable
from server.api.params import MAX_TIME_MS, MIN_TIME_MS, Params, read_params
from server.call import Call
from server.http import Response, api_error, success
from server.settings import Settings
from tsdb.log.sync import sync_text

MAX_LISTED = 10_000
_API = (
    *("admin", "exemplars", "federation", "format_query", "otlp_write_receiver", "parse_query"),
    *("query_stats", "remote_read", "remote_write_receiver", "time_range_labels"),
)
_OPERATORS = (
    *("!=", "!~", "%", "*", "+", "-", "/", "<", "<=", "=", "==", "=~", ">", ">=", "^", "@"),
    *("</", ">/", "and", "atan2", "bool", "by", "fill", "fill_left", "fill_right", "group_left"),
    *("group_right", "ignoring", "offset", "on", "or", "unless", "without"),
)


async def runtimeinfo(call: Call) -> Response:
    """``/api/v1/status/runtimeinfo``"""
    house = call.house
    now = datetime.now(UTC).isoformat()
    started = datetime.fromtimestamp(house.started_seconds, UTC).isoformat()
    return success(
        {
            "startTime": started,
            "CWD": os.getcwd(),
            "hostname": socket.gethostname(),
            "serverTime": now,
            "reloadConfigSuccess": house.scraping is None or house.scraping.last_reload_good,
            "lastConfigTime": started,
            "corruptionCount": 0,
            "goroutineCount": 0,
            "GOMAXPROCS": os.cpu_count(),
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": _retention(house.settings),
            "pythonVersion": platform.python_version(),
        }
    )


async def flags(call: Call) -> Response:
    """``/api/v1/status/flags``: the settings, by the names that Prometheus gives them."""
    settings, options = call.house.settings, call.house.options
    return success(
        {
            "config.file": str(settings.config_file or ""),
            "enable-feature": ",".join(sorted(settings.features)),
            "log.format": settings.log_format.value,
            "log.level": settings.log_level.value,
            "query.lookback-delta": format_duration_ms(options.lookback_ms),
            "query.max-concurrency": str(settings.query_workers),
            "query.max-samples": str(options.max_samples),
            "query.timeout": format_duration_ms(settings.query_timeout_ms),
            "storage.reserve": str(call.house.store.space.reserve_bytes),
            "storage.tsdb.path": str(settings.data_dir),
            "storage.tsdb.retention.time": format_duration_ms(settings.retention_ms)
            if settings.retention_ms
            else "0s",
            "storage.tsdb.retention.size": f"{settings.retention_bytes}B",
            "web.enable-admin-api": "true",
            "web.enable-lifecycle": "true",
            "web.enable-otlp-receiver": "true",
            "web.enable-remote-write-receiver": "true",
            "wal-sync": sync_text(settings.wal_sync_ms),
            "web.listen-address": f"{settings.host}:{settings.port}",
        }
    )


async def features(call: Call) -> Response:
    """``/api/v1/features``: what this server can do, for clients that ask before they offer it."""
    options = call.house.options
    return success(
        {
            "api": dict.fromkeys(_API, True),
            "otlp_receiver": {"delta_conversion": True, "native_delta_ingestion": False},
            "promql": {
                "anchored": True,
                "at_modifier": True,
                "bool": True,
                "by": True,
                "delayed_name_removal": options.delayed_name_removal,
                "duration_expr": True,
                "fill": True,
                "group_left": True,
                "negative_offset": True,
                "offset": True,
                "per_query_lookback_delta": True,
                "per_step_stats": True,
                "smoothed": True,
                "subqueries": True,
                "type_and_unit_labels": options.type_and_unit_labels,
                "use_start_timestamps": options.use_start_timestamps,
            },
            "promql_functions": dict.fromkeys(FUNCTIONS, True),
            "promql_operators": dict.fromkeys(sorted((*_OPERATORS, *AGGREGATORS)), True),
            "scrape": {"native_histograms": True, "openmetrics": True},
            "tsdb": {"native_histograms": True, "out_of_order": True},
        }
    )


async def tsdb(call: Call) -> Response:
    """``/api/v1/status/tsdb``: the largest groups of series among those the asker may read."""
    params = await read_params(call.request)
    limit = _limit(params)
    check_queue(call)

    def report() -> Response:
        return success(_report(call, limit))

    return await asyncio.get_running_loop().run_in_executor(call.queries, report)


def _report(call: Call, limit: int) -> dict[str, Any]:
    store = call.house.store
    source = readable(call)
    frame = source.resolve((), Hints(MIN_TIME_MS, MAX_TIME_MS, values=False)).frame
    db = tenants.tenant_db(store, call.principal, create=False)
    groups = _Groups(frame)
    head: dict[str, int] = dict.fromkeys(("chunkCount", "minTime", "maxTime"), 0)
    if db is not None and not call.principal.matchers:
        first_ms, last_ms = db.head_times_ms
        head = {"chunkCount": db.head_pages, "minTime": first_ms, "maxTime": last_ms}
    return {
        "headStats": {"numSeries": frame.size, "numLabelPairs": groups.pair_count, **head},
        "seriesCountByMetricName": _top(groups.by_metric, limit),
        "labelValueCountByLabelName": _top(groups.values_by_name, limit),
        "memoryInBytesByLabelName": _top(groups.bytes_by_name, limit),
        "seriesCountByLabelValuePair": _top(groups.by_pair, limit),
    }


class _Groups:
    """How many series each name and each pair of *frame* has, and how much text."""

    def __init__(self, frame: LabelFrame) -> None:
        self.by_metric: dict[str, int] = {}
        self.values_by_name: dict[str, int] = {}
        self.bytes_by_name: dict[str, int] = {}
        self.by_pair: dict[str, int] = {}
        for name, (codes, values) in frame.columns.items():
            counts = np.bincount(codes, minlength=len(values)).tolist()
            found = {
                value: count for value, count in zip(values, counts, strict=True) if value and count
            }
            self.values_by_name[name] = len(found)
            self.bytes_by_name[name] = sum(len(value.encode()) * n for value, n in found.items())
            self.by_pair.update((f"{name}={value}", n) for value, n in found.items())
            if name == METRIC_NAME:
                self.by_metric = found

    @property
    def pair_count(self) -> int:
        return len(self.by_pair)


def _top(counts: dict[str, int], limit: int) -> list[dict[str, Any]]:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [{"name": name, "value": count} for name, count in largest]


def _limit(params: Params) -> int:
    text = params.get("limit")
    if text == "":
        return 10
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise api_error("bad_data", "limit must be a positive number")
    if int(text) > MAX_LISTED:
        raise api_error("bad_data", f"limit must not exceed {MAX_LISTED}")
    return int(text)


def _retention(settings: Settings) -> str:
    """``15d or 1073741824B``; what is not bounded is left out, ``0s`` where nothing is."""
    bounds = []
    if settings.retention_ms:
        bounds.append(format_duration_ms(settings.retention_ms))
    if settings.retention_bytes:
        bounds.append(f"{settings.retention_bytes}B")
    return " or ".join(bounds) or "0s"
