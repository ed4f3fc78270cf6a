"""A user's program with two Python clients of the query API, run by a Python that has them.

Arguments: which client, the URL of the server, a key or "", the start and end of the range and its
step in seconds. Prints as JSON what the client's DataFrames hold, one list of rows a call.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

RATE = "rate(asked_total[1m])"


def prometheus_api_client(url: str, key: str, start: int, end: int, step: int) -> object:
    """Its checks, lists, instant and range calls, and the DataFrames it makes of them."""
    from prometheus_api_client import (  # type: ignore[import-not-found]
        MetricRangeDataFrame,
        MetricSnapshotDataFrame,
        PrometheusConnect,
    )

    first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end))
    client = PrometheusConnect(url=url, headers={"Authorization": f"Bearer {key}"})
    assert client.check_prometheus_connection()
    assert client.all_metrics() == ["asked_total"]
    assert client.get_label_names() == ["__name__", "job", "zone"]
    assert client.get_label_values("job") == ["api", "web"]
    assert len(client.get_series(first, last, {"match[]": "asked_total"})) == 2
    instant = client.custom_query("asked_total", params={"time": end})
    ranged = client.custom_query_range(RATE, start_time=first, end_time=last, step=f"{step}")
    raw = client.get_metric_range_data(
        "asked_total", label_config={"job": "web"}, start_time=first, end_time=last
    )
    return {
        "instant": MetricSnapshotDataFrame(instant, ts_as_datetime=False).to_dict("records"),
        "range": _rows(MetricRangeDataFrame(ranged, ts_as_datetime=False)),
        "raw": _rows(MetricRangeDataFrame(raw, ts_as_datetime=False)),
    }


def promql_http_api(url: str, key: str, start: int, end: int, step: int) -> object:
    """The same of the other client, and every status call that it knows."""
    from promql_http_api import PromqlHttpApi  # type: ignore[import-not-found]

    client = PromqlHttpApi(url, {"Authorization": f"Bearer {key}"})
    first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end))
    for call in ("rules", "alerts", "alertmanagers", "flags", "runtimeinfo", "buildinfo"):
        status = getattr(client, call)()
        status()
        assert status.response.http_response_ok(), call
    instant = client.query("asked_total", last)
    ranged = client.query_range(RATE, first, last, f"{step}s")
    frames = {}
    for name, query in (("instant", instant), ("range", ranged)):
        query()
        frames[name] = query.to_dataframe().to_dict("records")
    return frames


def _rows(frame: Any) -> object:
    return frame.reset_index().to_dict("records")


if __name__ == "__main__":
    name, url, key, *times = sys.argv[1:]
    print(json.dumps(globals()[name](url, key, *map(int, times))))
