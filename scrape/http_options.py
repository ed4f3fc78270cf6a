"""How a target or a discovery service is spoken to: credentials, TLS, redirects.

The keys are those of Prometheus' ``http_config``. Files of credentials are read at each request,
so a renewed token is used at once.
"""

import base64
import functools
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from scrape.document import Section

IGNORED = (
    "oauth2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "enable_http2",
    "http_headers",
)
"""Keys of ``http_config`` that are valid and without effect here."""
KEEP_ALIVE_SECONDS = 300.0

_TLS_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, given as it is or by the file that holds it; never shown."""

    value: str = field(default="", repr=False)
    file: Path | None = None

    def read(self) -> str:
        """The secret; OSError where its file cannot be read."""
        return self.value if self.file is None else self.file.read_text().strip()


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The keys of ``tls_config``; *ca*, *cert* and *key* hold PEM text."""

    ca: Secret | None = None
    cert: Secret | None = None
    key: Secret | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: str = ""
    max_version: str = ""


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Credentials are either *basic* (user name, password) or *authorization* (type, secret)."""

    basic: tuple[Secret, Secret] | None = None
    authorization: tuple[str, Secret] | None = None
    tls: TlsOptions | None = None
    follow_redirects: bool = True

    def headers(self) -> dict[str, str]:
        """The credentials as a header; OSError where a file of them cannot be read."""
        if self.basic is not None:
            user, password = (secret.read() for secret in self.basic)
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            return {"Authorization": f"Basic {token}"}
        if self.authorization is not None:
            kind, secret = self.authorization
            return {"Authorization": f"{kind} {secret.read()}"}
        return {}

    def extensions(self) -> dict[str, object]:
        """What httpx needs to know besides the request."""
        if self.tls is None or not self.tls.server_name:
            return {}
        return {"sni_hostname": self.tls.server_name}

    def client(self, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
        """A client of one peer; OSError or ssl.SSLError where a certificate cannot be used."""
        return httpx.AsyncClient(
            transport=transport,
            verify=_default_tls() if self.tls is None else _tls_context(self.tls),
            timeout=None,
            follow_redirects=self.follow_redirects,
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_SECONDS),
        )


PLAIN = HttpOptions()


def parse_http_options(section: Section, directory: Path) -> HttpOptions:
    """Takes the keys of ``http_config`` from *section*; relative files lie in *directory*."""
    section.ignore(IGNORED)
    basic = _basic_auth(section.section("basic_auth"), directory)
    authorization = _authorization(section, directory)
    if basic is not None and authorization is not None:
        raise section.error(
            "at most one of basic_auth, authorization and bearer_token may be set", "basic_auth"
        )
    tls = section.section("tls_config")
    return HttpOptions(
        basic,
        authorization,
        None if tls is None else _tls_options(tls, directory),
        section.flag("follow_redirects", True),
    )


def _secret(section: Section, name: str, directory: Path) -> Secret | None:
    """The secret under *name* or ``{name}_file``; both together are an error."""
    value, file = section.text(name), section.text(f"{name}_file")
    section.ignore([f"{name}_ref"])
    if value and file:
        raise section.error(f"at most one of {name} and {name}_file may be set", name)
    if file:
        return Secret(file=directory / file)
    return Secret(value) if value else None


def _basic_auth(section: Section | None, directory: Path) -> tuple[Secret, Secret] | None:
    if section is None:
        return None
    user = _secret(section, "username", directory) or Secret()
    password = _secret(section, "password", directory) or Secret()
    section.finish()
    return user, password


def _authorization(section: Section, directory: Path) -> tuple[str, Secret] | None:
    inner = section.section("authorization")
    bearer = _secret(section, "bearer_token", directory)
    if inner is None:
        return None if bearer is None else ("Bearer", bearer)
    if bearer is not None:
        raise section.error("authorization and bearer_token may not both be set", "authorization")
    kind = inner.text("type", "Bearer").strip()
    if kind.lower() == "basic":
        raise inner.error('authorization type cannot be set to "basic", use basic_auth', "type")
    secret = _secret(inner, "credentials", directory)
    inner.finish()
    return None if secret is None else (kind, secret)


def _tls_options(section: Section, directory: Path) -> TlsOptions:
    versions = {}
    for name in ("min_version", "max_version"):
        versions[name] = section.text(name)
        if versions[name] and versions[name] not in _TLS_VERSIONS:
            raise section.error(f"unknown TLS version: {versions[name]}", name)
    options = TlsOptions(
        ca=_secret(section, "ca", directory),
        cert=_secret(section, "cert", directory),
        key=_secret(section, "key", directory),
        server_name=section.text("server_name"),
        insecure_skip_verify=section.flag("insecure_skip_verify"),
        **versions,
    )
    if (options.cert is None) is not (options.key is None):
        raise section.error("exactly one of cert and key is configured; both are needed")
    section.finish()
    return options


@functools.cache
def _default_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _tls_context(options: TlsOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=options.ca.read() if options.ca else None)
    if options.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.min_version:
        context.minimum_version = _TLS_VERSIONS[options.min_version]
    if options.max_version:
        context.maximum_version = _TLS_VERSIONS[options.max_version]
    if options.cert is not None and options.key is not None:
        _load_pair(context, options.cert.read(), options.key.read())
    return context


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Loads a certificate and its key, which Python takes from files only."""
    descriptor, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key}\n{cert}\n")
        context.load_cert_chain(name)
    finally:
        os.unlink(name)
