"""Rules and alerts: none can be configured, and these routes say so as Prometheus does.

What filters the rules is checked as in web/api/v1/api.go of Prometheus 3.14, from the URL alone.
"""

import re

from server.api.metadata_api import selectors
from server.api.params import Params, invalid, read_params
from server.call import Call
from server.http import Response, success

_TYPES = ("", "alert", "record")
_BOOLEANS = frozenset(
    ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")
)


async def rules(call: Call) -> Response:
    """``/api/v1/rules``: no groups."""
    params = await read_params(call.request)
    if (kind := params.get("type").lower()) not in _TYPES:
        raise invalid("type", f'not supported value "{kind}"')
    alone = params.get("exclude_alerts")
    if alone and alone not in _BOOLEANS:
        text = f'error converting exclude_alerts: strconv.ParseBool: parsing "{alone}"'
        raise invalid("exclude_alerts", f"{text}: invalid syntax")
    _check_page(params)
    try:
        selectors(params)
    except ValueError as error:
        raise invalid("match[]", str(error)) from None
    return success({"groups": []})


def _check_page(params: Params) -> None:
    """No page can follow another where there is nothing."""
    token, limit = params.get("group_next_token"), params.get("group_limit")
    if token and not limit:
        text = "group_limit needs to be present in order to paginate over the groups"
        raise invalid("group_next_token", text)
    if limit and not re.fullmatch(r"[+-]?\d{1,9}", limit, re.ASCII):
        text = f'group_limit needs to be a valid number: strconv.ParseInt: parsing "{limit}"'
        raise invalid("group_limit", f"{text}: invalid syntax")
    if limit and int(limit) <= 0:
        raise invalid("group_limit", "group_limit needs to be greater than 0")
    if token:
        text = f"invalid group_next_token '{token}'. were rule groups changed?"
        raise invalid("group_next_token", text)


async def alerts(call: Call) -> Response:
    """``/api/v1/alerts``: none."""
    del call
    return success({"alerts": []})


async def alertmanagers(call: Call) -> Response:
    """``/api/v1/alertmanagers``: nobody is told of alerts."""
    del call
    return success({"activeAlertmanagers": [], "droppedAlertmanagers": []})
