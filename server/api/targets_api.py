"""What is scraped: targets, their metadata, jobs, the configuration, and loading it again.

Everything is shown to the tenant whose samples it brings, and to nobody else. A key that is bound
by label matchers sees the targets that satisfy them, and no configuration.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from promql.ast import VectorSelector
from promql.errors import ParseError
from promql.parser import parse
from series.durations import format_duration_ms
from series.labels import Labels
from series.matcher import Matcher
from series.relabel import Rule, steps
from server.api.params import Params, invalid, read_params
from server.call import Call
from server.http import TEXT, Response, api_error, success, text_error

if TYPE_CHECKING:
    from scrape.pool import Pool
    from scrape.visit import Visitor

_NEVER = "0001-01-01T00:00:00Z"


async def targets(call: Call) -> Response:
    """``/api/v1/targets``: what is scraped and how that went, and what relabelling dropped."""
    params = await read_params(call.request)
    state, only = params.get("state").lower(), params.get("scrapePool")
    pools = [pool for pool in _pools(call) if only in ("", pool.job.name)]
    active = state in ("", "any", "active")
    dropped = state in ("", "any", "dropped")
    return success(
        {
            "activeTargets": [
                _active(visitor) for pool in pools for visitor in _visitors(call, pool) if active
            ],
            "droppedTargets": [
                {"discoveredLabels": labels.as_dict(), "scrapePool": pool.job.name}
                for pool in pools
                for labels in pool.dropped
                if dropped and not call.principal.matchers
            ],
            "droppedTargetCounts": (
                {pool.job.name: pool.dropped_count for pool in pools} if dropped else None
            ),
        }
    )


def _active(visitor: "Visitor") -> dict[str, Any]:
    target = visitor.target
    return {
        "discoveredLabels": target.discovered.as_dict(),
        "labels": target.labels.as_dict(),
        "scrapePool": visitor.job.name,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": visitor.last_error,
        "lastScrape": _rfc3339(visitor.last_scrape_ms),
        "lastScrapeDuration": visitor.last_duration_seconds,
        "health": visitor.health,
        "scrapeInterval": format_duration_ms(target.interval_ms),
        "scrapeTimeout": format_duration_ms(target.timeout_ms),
    }


def _rfc3339(time_ms: int) -> str:
    if not time_ms:
        return _NEVER
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def scrape_pools(call: Call) -> Response:
    """``/api/v1/scrape_pools``: the names of the jobs."""
    return success({"scrapePools": [pool.job.name for pool in _pools(call)]})


async def scrape_pool_config(call: Call) -> Response:
    """``/api/v1/scrape_pools/config``: one job as the file has it, without secrets."""
    pool = _named_pool(call, await read_params(call.request))
    return success({"yaml": _yaml(pool.job.shown)})


async def relabel_steps(call: Call) -> Response:
    """``/api/v1/targets/relabel_steps``: what each rule of a job makes of given labels."""
    params = await read_params(call.request)
    rules = _named_pool(call, params).job.relabel
    try:
        given = orjson.loads(params.get("labels"))
        labels = Labels.of({str(name): str(value) for name, value in given.items()})
    except (ValueError, AttributeError):
        raise invalid("labels", "must be a JSON object of texts") from None
    found = [
        {"rule": _rule(rule), "output": after.as_dict(), "keep": kept}
        for rule, after, kept in steps(labels, rules)
    ]
    return success({"steps": found})


async def targets_metadata(call: Call) -> Response:
    """``/api/v1/targets/metadata``: what each target told of its metrics."""
    params = await read_params(call.request)
    limit = _limit(params)
    matchers = _matchers(params.get("match_target"))
    metric = params.get("metric")
    found: list[dict[str, Any]] = []
    visitors = [visitor for pool in _pools(call) for visitor in _visitors(call, pool)]
    for told in _told(visitors, matchers, metric):
        if 0 <= limit <= len(found):
            break
        found.append(told)
    if not found:
        raise api_error("not_found", "specified metadata not found")
    return success(found)


def _told(
    visitors: "list[Visitor]", matchers: tuple[Matcher, ...], metric: str
) -> Iterator[dict[str, Any]]:
    for visitor in visitors:
        labels = visitor.target.labels
        if not _satisfy(labels, matchers):
            continue
        shown = labels.as_dict()
        metadata = visitor.told.all()
        for name in [metric] if metric else sorted(metadata):
            if (one := metadata.get(name)) is None:
                continue
            named = {} if metric else {"metric": name}
            text = {"type": one.type, "help": one.help, "unit": one.unit}
            yield {"target": shown, **named, **text}


async def config(call: Call) -> Response:
    """``/api/v1/status/config``: what is acted upon of the file, without secrets."""
    scraping = call.house.scraping
    if scraping is None:
        return success({"yaml": ""})
    _check_unbound(call)
    jobs = [pool.job.shown for pool in _pools(call)]
    return success({"yaml": _yaml({"global": dict(scraping.config.shown), "scrape_configs": jobs})})


async def reload(call: Call) -> Response:
    """``POST /-/reload``: reads the configuration again; a bad one changes nothing."""
    scraping = call.house.scraping
    if scraping is None:
        raise text_error(404, "there is no configuration file; start the server with --config FILE")
    if not call.principal.governs(scraping.tenant_of("")):
        raise api_error("forbidden", "the configuration is not this organization's")
    try:
        await asyncio.to_thread(scraping.reload)
    except (ValueError, OSError) as error:
        raise text_error(500, f"failed to reload config: {error}") from None
    return Response(b"", content_type=TEXT)


def _pools(call: Call) -> "list[Pool]":
    scraping = call.house.scraping
    return [] if scraping is None else scraping.pools(call.principal.tenant)


def _visitors(call: Call, pool: "Pool") -> "list[Visitor]":
    """The targets of *pool* that the asker may see."""
    bound = call.principal.matchers
    return [visitor for visitor in pool.visitors if _satisfy(visitor.target.labels, bound)]


def _satisfy(labels: Labels, matchers: tuple[Matcher, ...]) -> bool:
    return all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)


def _check_unbound(call: Call) -> None:
    if call.principal.matchers:
        raise api_error("forbidden", "the key sees some labels only, and no configuration")


def _named_pool(call: Call, params: Params) -> "Pool":
    _check_unbound(call)
    name = params.get("scrapePool")
    if not name:
        raise api_error("bad_data", "no scrapePool parameter provided")
    for pool in _pools(call):
        if pool.job.name == name:
            return pool
    raise api_error("not_found", f'scrape pool "{name}" not found')


def _matchers(selector: str) -> tuple[Matcher, ...]:
    if not selector:
        return ()
    try:
        node = parse(selector)
    except ParseError as error:
        raise api_error("bad_data", str(error)) from None
    if not isinstance(node, VectorSelector):
        raise api_error("bad_data", f"{selector!r} is not a series selector")
    return node.all_matchers


def _limit(params: Params) -> int:
    text = params.get("limit")
    if not text:
        return -1
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise api_error("bad_data", "limit must be a number")
    return int(text)


def _rule(rule: Rule) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "sourceLabels": list(rule.source_labels),
        "separator": rule.separator,
        "regex": rule.regex,
        "modulus": rule.modulus,
        "targetLabel": rule.target_label,
        "replacement": rule.replacement,
        "action": rule.action,
    }
    return {name: value for name, value in shown.items() if value}


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
