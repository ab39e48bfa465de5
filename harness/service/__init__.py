"""Where real servers come from. `PROVIDERS` names each way, in the order tried, without importing it."""

from __future__ import annotations

from collections.abc import Mapping

PROVIDERS: Mapping[str, Mapping[str, str]] = {
    "redis": {
        "url": "harness.service.given:GivenRedis",
        "container": "harness.service.container:RedisContainer",
        "embedded": "harness.service.redis:EmbeddedRedis",
        "program": "harness.service.redis:RedisProgram",
    },
    "postgres": {
        "url": "harness.service.given:GivenPostgres",
        "container": "harness.service.container:PostgresContainer",
        "embedded": "harness.service.postgres:EmbeddedPostgres",
        "program": "harness.service.postgres:PostgresProgram",
    },
}
"""Service -> provider name -> "module:attribute" of its class."""
