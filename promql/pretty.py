"""pretty: a tree over several lines, as Prometheus' ``/api/v1/format_query`` lays it out.

An expression whose one-line text is longer than 100 bytes is split at its operator or parentheses
and its parts are indented by two spaces (promql/parser/prettier.go of Prometheus 3.14).
"""

from promql.ast import Aggregate, Binary, Call, Node, Paren, Subquery, Unary
from promql.printer import aggregation_text, operator_text, subquery_suffix, to_text

MAX_LINE_BYTES = 100


def pretty(node: Node, level: int = 0) -> str:
    """*node* indented by *level* steps; reads back as the same tree."""
    indent = "  " * level
    if isinstance(node, Unary):
        return indent + node.op + pretty(node.operand, level).strip()
    if _may_fit(node):
        text = to_text(node)
        if len(text.encode("utf-8", "surrogateescape")) <= MAX_LINE_BYTES:
            # Prometheus does not indent a subquery that fits on a line.
            return text if isinstance(node, Subquery) else indent + text
    match node:
        case Subquery(expr=expr):
            return pretty(expr, level) + subquery_suffix(node)
        case Binary(left=left, right=right):
            lines = (
                pretty(left, level + 1),
                indent + operator_text(node),
                pretty(right, level + 1),
            )
            return "\n".join(lines)
        case Aggregate(expr=expr, param=param):
            parts = [expr] if param is None else [param, expr]
            return indent + aggregation_text(node) + _in_parentheses(parts, level)
        case Call(name=name, args=args) if args:
            return indent + name + _in_parentheses(args, level)
        case Paren(inner=inner):
            return indent + _in_parentheses([inner], level)
        case _:
            return indent + to_text(node)


def _may_fit(node: Node) -> bool:
    """Whether *node* has no more nodes than a line has bytes; each is written with one at least."""
    waiting = [node]
    for _ in range(MAX_LINE_BYTES):
        match waiting.pop():
            case Subquery(expr=inner) | Paren(inner=inner) | Unary(operand=inner):
                waiting.append(inner)
            case Binary(left=left, right=right):
                waiting += (left, right)
            case Aggregate(expr=expr, param=param):
                waiting += (expr,) if param is None else (param, expr)
            case Call(args=args):
                waiting += args
        if not waiting:
            return True
    return False


def _in_parentheses(parts: list[Node] | tuple[Node, ...], level: int) -> str:
    lines = ",\n".join(pretty(part, level + 1) for part in parts)
    return f"(\n{lines}\n{'  ' * level})"
