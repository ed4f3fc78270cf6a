"""Targets: labels, defaults, URLs and what makes no target."""

from pathlib import Path

import pytest

from scrape.config import Job
from scrape.target import BadTarget, Target, discovered_labels, make_target
from tests.scrape.worlds import job_of

ADDRESS = {"__address__": "127.0.0.1:80"}


def made(job: Job, labels: dict[str, str]) -> Target | None:
    return make_target(job, discovered_labels(job, labels))


def test_a_target_gets_job_and_instance(tmp_path: Path) -> None:
    """Plain discovered labels stay, those that begin with ``__`` do not."""
    job = job_of(tmp_path, "job_name: a")

    target = made(job, {**ADDRESS, "zone": "z", "__meta_x": "y"})

    assert target is not None
    assert target.url == "http://127.0.0.1:80/metrics"
    assert target.labels.as_dict() == {"instance": "127.0.0.1:80", "job": "a", "zone": "z"}
    assert target.discovered.as_dict() == {
        **ADDRESS,
        "__meta_x": "y",
        "__metrics_path__": "/metrics",
        "__scheme__": "http",
        "__scrape_interval__": "1m",
        "__scrape_timeout__": "10s",
        "job": "a",
        "zone": "z",
    }


def test_labels_decide_over_the_url(tmp_path: Path) -> None:
    """Scheme, path, parameters, interval and timeout follow their labels."""
    job = job_of(tmp_path, "job_name: a\nparams: {x: [1, 2], y: [3]}")

    target = made(
        job,
        {
            **ADDRESS,
            "__scheme__": "https",
            "__metrics_path__": "m",
            "__param_z": "a b",
            "__scrape_interval__": "20s",
            "__scrape_timeout__": "3s",
            "instance": "i",
        },
    )

    assert target is not None
    assert target.url == "https://127.0.0.1:80/m?x=1&x=2&y=3&z=a+b"
    assert (target.interval_ms, target.timeout_ms) == (20_000, 3_000)
    assert target.labels.get("instance") == "i"


def test_the_probe_idiom_works(tmp_path: Path) -> None:
    """A parameter taken from the address, and the address replaced, as for a prober."""
    job = job_of(
        tmp_path,
        """
job_name: probe
metrics_path: /probe
relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: "127.0.0.1:9115"}
""",
    )

    target = made(job, {"__address__": "http://site/x"})

    assert target is not None
    assert target.url == "http://127.0.0.1:9115/probe?target=http%3A%2F%2Fsite%2Fx"
    assert target.labels.as_dict() == {"instance": "http://site/x", "job": "probe"}


def test_relabelling_may_drop_it(tmp_path: Path) -> None:
    """A dropped target is none."""
    job = job_of(tmp_path, "job_name: a\nrelabel_configs: [{action: drop}]")

    assert made(job, ADDRESS) is None


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"__address__": ""}, "no address"),
        ({"__address__": "a/b"}, '"a/b" is not a valid hostname'),
        ({**ADDRESS, "__scrape_interval__": "x"}, "error parsing scrape interval"),
        ({**ADDRESS, "__scrape_interval__": "0s"}, "scrape interval cannot be 0"),
        ({**ADDRESS, "__scrape_timeout__": "0"}, "scrape timeout cannot be 0"),
        ({**ADDRESS, "__scrape_timeout__": "2m"}, 'interval ("2m" > "1m")'),
        ({**ADDRESS, "__scheme__": "ftp"}, 'invalid scheme: "ftp"'),
    ],
)
def test_bad_targets_say_why(tmp_path: Path, labels: dict[str, str], text: str) -> None:
    """What cannot be scraped is refused with its reason."""
    with pytest.raises(BadTarget) as refused:
        made(job_of(tmp_path, "job_name: a"), labels)

    assert text in str(refused.value)


def test_offsets_are_spread_and_stay(tmp_path: Path) -> None:
    """Targets fill every tenth of the interval, each always at the same place."""
    job = job_of(tmp_path, "job_name: a")
    targets = [made(job, {"__address__": f"host{n}:80"}) for n in range(300)]
    offsets = [target.offset_ms() for target in targets if target is not None]

    assert len({offset // 6_000 for offset in offsets}) == 10
    assert offsets == [target.offset_ms() for target in targets if target is not None]
