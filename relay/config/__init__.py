"""relay.yaml and the environment in, frozen and validated settings out.

Secrets come from the environment (`${NAME}`) or from files (`*_file`), never from the YAML text itself. Nothing is
read at import. `relay.app` hands the settings out in slices; nobody else receives `Config`.
"""

from relay.config.loading import KEY_HASH, ConfigError, build, json_schema, load, secret_of, shown
from relay.config.sections import Config, PolicyRule, Tenant

__all__ = [
    "KEY_HASH",
    "Config",
    "ConfigError",
    "PolicyRule",
    "Tenant",
    "build",
    "json_schema",
    "load",
    "secret_of",
    "shown",
]
