"""Two services on one machine never share a port."""

import socket

import pytest

from deployments.run import dashboard_port
from deployments.service.ports import (
    DASHBOARD,
    DASHBOARD_METRICS,
    FALLBACK,
    INGRESS_FIRST,
    INGRESS_LAST,
    INGRESS_PORTS,
    METRICS,
    SINGLE,
    STATS,
    choose_ports,
    is_free_on_loopback,
    named_ports,
    ports_of,
)
from trivet.errors import ConfigError


def test_the_defaults_are_kept_where_they_are_free() -> None:
    chosen = choose_ports({}, (), lambda port: True)
    assert {role.variable: chosen[role.variable] for role in SINGLE} == {
        FALLBACK.variable: "8500",
        METRICS.variable: "9101",
        STATS.variable: "8404",
        DASHBOARD.variable: "8265",
        DASHBOARD_METRICS.variable: "44227",
    }
    assert (chosen[INGRESS_FIRST.variable], chosen[INGRESS_LAST]) == ("30000", "30100")


def test_a_second_service_shares_none_of_the_first_ones_ports() -> None:
    """Not even ports that the first one does not listen on at this moment."""
    first = choose_ports({}, (), lambda port: True)
    second = choose_ports({}, ports_of(first), lambda port: True)
    assert not set(ports_of(first)) & set(ports_of(second))
    assert len(ports_of(second)) == len(SINGLE) + INGRESS_PORTS


def test_what_the_caller_has_set_is_kept() -> None:
    environ = {METRICS.variable: "9999", INGRESS_FIRST.variable: "31000", INGRESS_LAST: "31010"}
    chosen = choose_ports(environ, (), lambda port: port != 9999)
    assert METRICS.variable not in chosen
    assert INGRESS_FIRST.variable not in chosen
    assert 9999 in ports_of({**chosen, **environ})
    assert len(set(ports_of({**chosen, **environ}))) == len(SINGLE) + 10


def test_a_port_in_use_is_not_chosen_even_where_it_was_bound_to_be_shared() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not is_free_on_loopback(port)
    assert is_free_on_loopback(port)


def test_no_free_port_is_an_error_that_names_the_purpose() -> None:
    with pytest.raises(ConfigError, match="no free port for Ray's Python proxy"):
        choose_ports({}, (), lambda port: False)


def test_every_chosen_port_is_listed_with_its_purpose() -> None:
    chosen = choose_ports({}, (), lambda port: True)
    assert sorted(named_ports(chosen).values()) == [8265, 8404, 8500, 9101, 30_000, 30_100, 44_227]
    assert named_ports({}) == {}


def test_the_program_that_starts_ray_gives_it_the_chosen_port_of_the_dashboard() -> None:
    second = choose_ports({}, [DASHBOARD.default], lambda port: True)
    assert dashboard_port(second) == {"dashboard_port": int(second[DASHBOARD.variable])}
    assert dashboard_port(second) != {"dashboard_port": DASHBOARD.default}
    assert dashboard_port({}) == {}


@pytest.mark.parametrize("value", ["http", "", "65536", "-1"])
def test_a_variable_that_is_no_port_is_named(value: str) -> None:
    environ = {STATS.variable: value}
    for read in (ports_of, named_ports, lambda given: choose_ports(given, (), lambda port: True)):
        with pytest.raises(ConfigError, match=STATS.variable):
            read(environ)
