"""The section `upstream` of relay.yaml becomes what dials Google: which service, at what address, as whom."""

import time
from collections.abc import Callable

from relay.config import ConfigError, secret_of, sections
from relay.core.backend import Backend, developer, vertex
from relay.core.secret import Secret
from relay.net.credentials import ApiKey, Credential, FetchedToken, TokenFile
from relay.net.upstream import Target, Upstream

Learn = Callable[[Secret], None]


def backend_of(section: sections.Upstream) -> Backend:
    """The service it names."""
    if section.vertex is None:
        return developer(section.api_version)
    return vertex(section.vertex.api_version, section.vertex.project, section.vertex.location)


def account_of(section: sections.Upstream, key: Secret | None) -> Secret:
    """Whose conversations there a resumption handle can lead to. Holds the key, if there is one."""
    if key is not None:
        return Secret(f"{section.base_url} {key.reveal()}")
    assert section.vertex is not None, "validated: a key or a project"
    return Secret(f"{section.base_url} {section.vertex.project} {section.vertex.location}")


def dialer(section: sections.Upstream, backend: Backend, key: Secret | None, learn: Learn) -> Upstream:
    """What dials it, with `key` if there is one; `learn` is told of secrets that turn up later.

    Raises ConfigError when a file is of no use, or a library is needed and missing.
    """
    target = Target(
        section.base_url + backend.method, section.connect_timeout, section.max_message, section.private_network
    )
    if key is not None:
        return Upstream(target, ApiKey(key))
    assert section.vertex is not None, "validated: a key or a project"
    return Upstream(target, _of_project(section.vertex, learn))


def _of_project(section: sections.Vertex, learn: Learn) -> Credential:
    if section.access_token_file is not None:
        secret_of(None, section.access_token_file)  # so that a wrong path is noticed now
        return TokenFile(section.access_token_file, learn)
    try:
        from relay.net.google_token import GoogleToken
    except ImportError:
        raise ConfigError(["upstream.vertex: needs google-auth: pip install 'relay[vertex]'"]) from None
    file = section.credentials_file
    try:
        return FetchedToken(GoogleToken(file), learn, time.time)
    except OSError:
        raise ConfigError([f"upstream.vertex.credentials_file: {file} can't be read"]) from None
    except ValueError:
        raise ConfigError([f"upstream.vertex.credentials_file: {file} holds no Google credentials"]) from None
