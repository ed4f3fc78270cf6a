"""Relabelling: every action, Prometheus' defaults, anchoring and templates, and what is refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels
from series.relabel import ACTIONS, Rule, relabel, steps

SHOP = {"__name__": "sales", "shop": "north-1", "till": "7", "empty_like": "x"}


def after(rule: Rule, labels: dict[str, str]) -> dict[str, str] | None:
    """The labels after one rule, None where they are dropped."""
    changed = relabel(Labels.of(labels), [rule])
    return None if changed is None else changed.as_dict()


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        (Rule(source_labels=("shop",), target_label="s"), {"s": "north-1"}),
        (Rule(source_labels=("shop", "till"), target_label="s"), {"s": "north-1;7"}),
        (Rule(source_labels=("shop", "none", "till"), separator="", target_label="s"),
         {"s": "north-17"}),
        (Rule(source_labels=("shop",), regex="(.*)-(.)", target_label="s", replacement="$2/$1"),
         {"s": "1/north"}),
        (Rule(source_labels=("shop",), regex="(?P<dir>.*)-.", target_label="s",
              replacement="${dir}ern"), {"s": "northern"}),
        (Rule(source_labels=("shop",), regex="nort", target_label="s"), {}),
        (Rule(target_label="s", replacement="always"), {"s": "always"}),
        (Rule(source_labels=("none",), target_label="shop"), {"shop": ""}),
        (Rule(source_labels=("till",), regex="(.)", target_label="t_$1", replacement="v"),
         {"t_7": "v"}),
        (Rule(source_labels=("none",), target_label="${1}", replacement="v"), {}),
        (Rule(source_labels=("shop",), regex="(.*)", target_label="s", replacement="$1x-$$-$9."),
         {"s": "-$-."}),
        (Rule(source_labels=("shop",), regex="(no)(zz)?.*", target_label="s",
              replacement="$1[$2]$01"), {"s": "no[]"}),
        (Rule(action="lowercase", source_labels=("__name__",), target_label="l"), {"l": "sales"}),
        (Rule(action="uppercase", source_labels=("shop",), target_label="l"), {"l": "NORTH-1"}),
        (Rule(action="labelmap", regex="(sh)op", replacement="${1}ip"), {"ship": "north-1"}),
        (Rule(action="labelmap", regex="s|ho", replacement="z"), {}),
        (Rule(action="labeldrop", regex="t.*"), {"till": ""}),
        (Rule(action="labelkeep", regex="__name__|shop"), {"till": "", "empty_like": ""}),
        (Rule(action="hashmod", source_labels=("shop",), modulus=1 << 60, target_label="h"),
         {"h": str(int(hashlib.md5(b"north-1").hexdigest()[16:], 16) % (1 << 60))}),
    ],
)  # fmt: skip
def test_a_rule_changes_labels(rule: Rule, changes: dict[str, str]) -> None:
    """A rule that keeps the labels makes exactly these changes; '' stands for a label removed."""
    expected = {name: value for name, value in {**SHOP, **changes}.items() if value}

    assert after(rule, SHOP) == expected


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (Rule(action="keep", source_labels=("till",), regex="7|8"), True),
        (Rule(action="keep", source_labels=("shop",), regex="north"), False),
        (Rule(action="keep", source_labels=("none",), regex=""), True),
        (Rule(action="drop", source_labels=("shop",), regex="north"), True),
        (Rule(action="drop", source_labels=("shop",), regex="north.*"), False),
        (Rule(action="drop"), False),
        (Rule(action="keepequal", source_labels=("till",), target_label="till"), True),
        (Rule(action="keepequal", source_labels=("till",), target_label="shop"), False),
        (Rule(action="dropequal", source_labels=("none",), target_label="nothing"), False),
        (Rule(action="dropequal", source_labels=("till",), target_label="shop"), True),
    ],
)
def test_a_rule_keeps_or_drops(rule: Rule, kept: bool) -> None:
    """Keeping rules change nothing; dropping ones give None."""
    assert after(rule, SHOP) == (SHOP if kept else None)


def test_a_dot_matches_a_newline() -> None:
    """Values with line breaks match as a whole, as in Prometheus 3."""
    rule = Rule(source_labels=("a",), target_label="b")

    assert after(rule, {"a": "x\ny"}) == {"a": "x\ny", "b": "x\ny"}


def test_rules_apply_in_order_until_one_drops() -> None:
    """Each rule sees what the one before made; ``steps`` shows all of it."""
    rules = [
        Rule(target_label="a", replacement="1"),
        Rule(action="drop", source_labels=("a",), regex="1"),
        Rule(target_label="b", replacement="never"),
    ]

    assert relabel(Labels.of(SHOP), rules) is None
    assert [(after.get("a"), kept) for _, after, kept in steps(Labels.of(SHOP), rules)] == [
        ("1", True),
        ("", False),
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"action": "keeps"}, 'unknown relabel action "keeps"'),
        ({"action": "hashmod", "target_label": "a"}, "requires non-zero modulus"),
        ({}, "relabel configuration for replace action requires 'target_label' value"),
        ({"action": "lowercase", "target_label": "a", "replacement": "b"}, "can not be set"),
        ({"action": "labelmap", "replacement": ""}, "is invalid 'replacement' for labelmap"),
        ({"action": "labeldrop", "source_labels": ("a",)}, "requires only 'regex'"),
        ({"action": "dropequal", "target_label": "a", "regex": "b"}, "no other fields"),
        ({"target_label": "a", "regex": "("}, "error parsing regexp: missing closing )"),
    ],
)
def test_senseless_rules_are_refused(fields: dict[str, object], text: str) -> None:
    """What Prometheus refuses is refused in its words."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        Rule(**fields)  # type: ignore[arg-type]

    assert text in str(refused.value)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text("xyz", max_size=3)),
    st.sampled_from(ACTIONS),
    st.text("abc$1{}", max_size=5),
)
def test_no_rule_breaks_or_leaves_empty_values(
    labels: dict[str, str], action: str, template: str
) -> None:
    """Whatever a rule makes is a label set without empty names and values, or None."""
    fields: dict[str, object] = {"action": action}
    if action == "labelmap":
        fields["replacement"] = template or "z"
    elif not action.startswith("label"):
        fields |= {"source_labels": ("a", "b"), "target_label": template or "z"}
    rule = Rule(**fields, modulus=3 if action == "hashmod" else 0)  # type: ignore[arg-type]

    changed = after(rule, labels)

    assert changed is None or ("" not in changed and "" not in changed.values())
