"""The table of all targets, and their corpora.

A new decoder gets a ``Target`` in a file of targets, its name here, and files in ``make_corpus``.
"""

import importlib
import pathlib

from tests.fuzz.target import Target

CORPUS = pathlib.Path(__file__).parent / "corpus"

NAMES = {
    "targets_compressed": ("snappy", "zstd", "zlib", "line_blocks"),
    "targets_protobuf": (
        "remote_write", "remote_write_known", "remote_write_2", "remote_read", "otlp",
        "exposition_protobuf",
    ),
    "targets_text": ("exposition_text", "openmetrics", "influx", "json_lines", "otlp_json"),
    "targets_asked": ("promql", "prometheus_yml", "discovered", "dns"),
    "targets_server": ("query_params", "push_path", "limits"),
    "targets_block": ("block_index",),
    "targets_disk": ("log_record", "log_segment", "exemplars", "manifest", "frame"),
    "targets_prometheus": ("prometheus_chunk", "prometheus_series", "prometheus_tombstones"),
}  # fmt: skip
"""The targets by the file that holds them; a run imports only what it fuzzes."""
ALL = tuple(name for names in NAMES.values() for name in names)
COMPILED = (
    "remote_write", "remote_write_known", "remote_write_2", "otlp", "exposition_protobuf",
    "exposition_text", "openmetrics", "otlp_json", "block_index", "prometheus_chunk",
    "prometheus_series", "log_record", "frame",
)  # fmt: skip
"""Those whose inputs are read by kernels."""


def target(name: str) -> Target:
    """The target *name*; KeyError where there is none."""
    for module, names in NAMES.items():
        if name in names:
            table: tuple[Target, ...] = importlib.import_module(f"tests.fuzz.{module}").TARGETS
            return next(one for one in table if one.name == name)
    raise KeyError(name)


def corpus(name: str) -> list[bytes]:
    """The inputs of a target that are kept, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
