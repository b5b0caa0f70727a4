"""Which network Dask talks over."""

import pytest

from headrace.errors import StageError
from headrace.provision import network
from headrace.provision.network import choose_interface, holder, resolve

HERE = {"lo": ["127.0.0.1"], "eth0": ["10.0.0.7"], "ib0": ["192.168.5.7"]}


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"n7-ib": ["192.168.5.7"], "n7": ["127.0.1.1"], "far": ["10.9.9.9"]}
    monkeypatch.setattr(network, "addresses", lambda: HERE)
    monkeypatch.setattr(network, "resolve", lambda name: names.get(name, []))
    monkeypatch.setattr(network.socket, "gethostname", lambda: "n7")
    monkeypatch.setattr(network, "default_route", lambda: ["10.0.0.7"])


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("n7-ib", "ib0"),
        # The name that a host gives itself leads to 127.0.1.1 on many systems: then the default route decides.
        ("", "eth0"),
        ("far", "eth0"),
        ("unknown", "eth0"),
    ],
)
def test_the_schedulers_way_comes_first_and_the_default_route_last(address: str, interface: str) -> None:
    assert choose_interface(address) == interface


@pytest.mark.usefixtures("node")
def test_without_any_way_the_error_names_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "default_route", lambda: [])
    with pytest.raises(StageError, match=r"dask_options: interface=NAME \(here: eth0, ib0, lo\)"):
        choose_interface()


def test_loopback_is_found_under_its_address() -> None:
    assert resolve("localhost") == ["127.0.0.1"]
    assert "127.0.0.1" in network.addresses()[holder(["127.0.0.1"], network.addresses())]
    assert resolve("no.such.host.invalid") == []
