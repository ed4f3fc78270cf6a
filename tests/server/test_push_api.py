"""Pushes over HTTP, as a Pushgateway takes them."""

import asyncio
import gzip
from typing import Any

import httpx
import pytest

from tests.server.conftest import NOW_MS, Asker
from tests.wire.encode import chunk
from tests.wire.histograms import Sent
from tests.wire.test_exposition_protobuf import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    PROTOBUF,
    double,
    family,
    label,
)


def send(asker: Asker, method: str, path: str, body: str | bytes = b"") -> httpx.Response:
    content = body.encode() if isinstance(body, str) else body
    return asker(method, f"/metrics{path}", content=content)


def series(asker: Asker, query: str) -> dict[str, str]:
    """The labels (without the name) of each row of an instant query a second later -> value."""
    answer = asker.get("/api/v1/query", query=query, time=NOW_MS / 1000 + 1)
    rows: list[dict[str, Any]] = answer.json()["data"]["result"]
    return {
        ",".join(f"{n}={v}" for n, v in sorted(row["metric"].items()) if n != "__name__"): row[
            "value"
        ][1]
        for row in rows
    }


def test_a_push_is_stored_below_its_grouping_labels(asker: Asker) -> None:
    """They win over labels of the same name in the body."""
    body = '# TYPE done gauge\n# HELP done Help.\ndone{instance="body",a="1"} 5\n'
    answer = send(asker, "PUT", "/job/batch/instance/i-0", body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert series(asker, "done") == {"a=1,instance=i-0,job=batch": "5"}
    assert series(asker, "push_time_seconds") == {"instance=i-0,job=batch": "1700000000"}
    assert asker.get("/api/v1/metadata").json()["data"]["done"][0]["help"] == "Help."


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/job/a", "job=a"),
        ("/job/a/", "job=a"),
        ("/job/a/x/b", "job=a,x=b"),
        ("/job@base64/YS9i", "job=a/b"),
        ("/job@base64/YS9i/x@base64/w7w=", "job=a/b,x=ü"),
        ("/job/a/x@base64/=", "job=a"),
        ("/job/a/x@base64/", "job=a"),
        ("/job/a/x/", "job=a"),
        ("/job/a%20b/x/c%3Dd", "job=a b,x=c=d"),
    ],
)
def test_grouping_labels_in_the_path(asker: Asker, path: str, labels: str) -> None:
    """Plain, escaped or in base64; empty ones do not exist."""
    assert send(asker, "POST", path, "done 1\n").status_code == 200
    assert series(asker, "done") == {labels: "1"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/job/a/x", "odd number of components"),
        ("/job/a/x-y/1", 'improper label name "x-y"'),
        ("/job/a/__name__/1", 'improper label name "__name__"'),
        ("/job/a/job/b", 'label name "job" stands twice'),
        ("/job@base64/=", "job name is required"),
        ("/job@base64/!", 'invalid base64 encoding "!"'),
        ("/job@base64/_w", 'invalid base64 encoding "_w"'),
    ],
)
def test_paths_that_name_no_group(asker: Asker, path: str, words: str) -> None:
    """400 that tells why."""
    answer = send(asker, "POST", path, "done 1\n")
    assert answer.status_code == 400
    assert words in answer.text


def test_put_replaces_the_group(asker: Asker) -> None:
    """Series that it lacks end; other groups, also those with more labels, go on."""
    send(asker, "PUT", "/job/a", "one 1\ntwo 2\n")
    send(asker, "PUT", "/job/a/x/y", "two 3\n")
    send(asker, "PUT", "/job/a", 'two{new="1"} 4\n')
    assert series(asker, "one") == {}
    assert series(asker, "two") == {"job=a,x=y": "3", "job=a,new=1": "4"}


def test_post_replaces_metrics_of_the_same_name(asker: Asker) -> None:
    """The group's other metrics go on."""
    send(asker, "PUT", "/job/a", 'one 1\ntwo{k="1"} 2\n')
    send(asker, "POST", "/job/a", 'two{k="2"} 4\n')
    assert series(asker, "one") == {"job=a": "1"}
    assert series(asker, "two") == {"job=a,k=2": "4"}


def test_delete_ends_the_group(asker: Asker) -> None:
    """202, also where there is none; an empty PUT does the same."""
    send(asker, "PUT", "/job/a", "one 1\n")
    send(asker, "PUT", "/job/b", "one 2\n")
    assert send(asker, "DELETE", "/job/a").status_code == 202
    assert series(asker, "one") == {"job=b": "2"}
    assert series(asker, "push_time_seconds") == {"job=b": "1700000000"}
    assert send(asker, "DELETE", "/job/never").status_code == 202
    assert send(asker, "PUT", "/job/b", "").status_code == 200
    assert series(asker, "one") == {}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("good 1\nbad\n", "text format parsing error in line 2: expected value after metric"),
        ("good 1 1700000000000\n", "pushed metrics must not have timestamps"),
        ("good 1\ngood 1\n", "was pushed before with the same name and labels"),
        ('good{job="x"} 1\ngood{job="y"} 1\n', "was pushed before"),
    ],
)
def test_a_bad_push_changes_nothing(asker: Asker, body: str, words: str) -> None:
    """400, and the group is what it was."""
    send(asker, "PUT", "/job/a", "old 1\n")
    answer = send(asker, "PUT", "/job/a", body)
    assert answer.status_code == 400
    assert words in answer.text
    assert series(asker, "old") == {"job=a": "1"}
    assert series(asker, "good") == {}


def test_compressed_and_protobuf_pushes(asker: Asker) -> None:
    """By their headers."""
    headers = {"content-encoding": "gzip"}
    body = gzip.compress(b"one 1\n")
    assert asker("PUT", "/metrics/job/a", content=body, headers=headers).status_code == 200
    body = family("two", GAUGE, label("k", "v") + chunk(2, double(1, 2.0)))
    headers = {"content-type": PROTOBUF}
    assert asker("PUT", "/metrics/job/b", content=body, headers=headers).status_code == 200
    assert series(asker, "one or two") == {"job=a": "1", "job=b,k=v": "2"}
    headers = {"content-encoding": "br"}
    assert asker("PUT", "/metrics/job/a", content=b"", headers=headers).status_code == 415
    headers = {"content-encoding": "gzip"}
    assert asker("PUT", "/metrics/job/a", content=b"x", headers=headers).status_code == 400


def test_reading_a_group_is_not_offered(asker: Asker) -> None:
    """405 for GET."""
    assert asker.get("/metrics/job/a").status_code == 405


def test_groups_show_on_metrics(asker: Asker) -> None:
    """How many are remembered."""
    send(asker, "PUT", "/job/a", "one 1\n")
    page = asker.get("/metrics").text
    assert "o11y_push_groups 1.0" in page
    assert "o11y_push_group_series 2.0" in page


def test_native_histograms_and_exemplars_are_pushed(asker: Asker) -> None:
    """A histogram is stored as both kinds; an exemplar without a time gets that of the push."""
    sent = Sent(count=2, sum=3.0, positive_spans=[(0, 1)], positive=[2]).exposition()
    exemplar = chunk(2, label("trace_id", "x") + double(2, 1.0))
    body = family("h", HISTOGRAM, chunk(7, sent))
    body += family("c", COUNTER, chunk(3, double(1, 5.0) + exemplar))
    headers = {"content-type": PROTOBUF}
    answer = asker("PUT", "/metrics/job/a", content=body, headers=headers)
    assert answer.status_code == 200
    assert series(asker, "histogram_sum(h)") == {"job=a": "3"}
    assert series(asker, "h_count") == {"job=a": "2"}
    found = asker.get("/api/v1/query_exemplars", query="c", start=0, end=NOW_MS / 1000 + 1)
    [of_series] = found.json()["data"]
    assert [one["timestamp"] for one in of_series["exemplars"]] == [NOW_MS / 1000]


def test_pushes_to_one_group_that_come_together_take_turns(asker: Asker) -> None:
    """Each has a time of its own, and what the last one lacks has ended."""

    async def both() -> list[int]:
        transport = httpx.ASGITransport(app=asker.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            bodies = [f"a {at}\nonly_{at} 1\n" for at in range(2)]
            sent = [http.put("/metrics/job/x", content=body) for body in bodies]
            return [answer.status_code for answer in await asyncio.gather(*sent)]

    assert asyncio.run(both()) == [200, 200]
    last = series(asker, "a")["job=x"]
    assert [bool(series(asker, f"only_{at}")) for at in range(2)] == [last == "0", last == "1"]
