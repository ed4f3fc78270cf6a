# make serve    sets up and runs the server in the foreground (ARGS='--listen 127.0.0.1:9099' ...)
# make test     sets up and passes all tests
.PHONY: setup serve test test-long test-long-packages quick check bench bench-long clean

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.installed
ARGS ?=
LONG_PACKAGES := caddy collectd-core curl etcd-server haproxy influxdb-client libmicrohttpd12 \
	libprotobuf-c1 netdata-core nginx-light prometheus prometheus-apache-exporter \
	prometheus-blackbox-exporter prometheus-nginx-exporter prometheus-node-exporter \
	prometheus-process-exporter prometheus-pushgateway prometheus-redis-exporter \
	prometheus-snmp-exporter redis-server victoria-metrics

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

serve: setup
	@exec $(VENV)/bin/o11y serve $(ARGS)

# Lint and types.
check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Everything that needs no server process, on both cores; the kernels are compiled before.
quick: setup
	@$(VENV)/bin/o11y warmup
	$(VENV)/bin/python -m pytest -n 2 -m 'not server and not long and not fuzz' --durations=20

# The tests with servers run one after the other: they measure and kill.
test: quick
	$(VENV)/bin/python -m pytest -n 2 -m fuzz
	$(VENV)/bin/python -m pytest -m 'server and not long' --durations=20

# Minutes of fuzzing, kills and comparison besides; what is not installed is skipped and named.
test-long: setup
	O11Y_TEST_LONG=1 $(VENV)/bin/python -m pytest --durations=20

# The Debian programs that the long tests send, scrape and compare with.
test-long-packages:
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(LONG_PACKAGES)

# Ours beside Debian's prometheus and victoria-metrics: every row, in about ten minutes.
bench: setup
	$(VENV)/bin/o11y warmup
	$(VENV)/bin/python -m benchmarks.run $(ARGS)

# The same with more repetitions and larger ingest rows, then growth along one axis, ours alone, and wide queries.
bench-long: setup
	$(VENV)/bin/o11y warmup
	$(VENV)/bin/python -m benchmarks.run --budget 20 --load-seconds 5 --medium-hours 6 \
		--small-samples 2000000 $(ARGS)
	$(VENV)/bin/python -m benchmarks.growth
	$(VENV)/bin/python -m benchmarks.wide

clean:
	rm -rf $(VENV) build *.egg-info
