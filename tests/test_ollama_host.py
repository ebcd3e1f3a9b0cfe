"""Every form of `OLLAMA_HOST`, and what is none."""

import pytest

from trivet.config import AppConfig
from trivet.ollama_host import server_url

LOOPBACK = "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.0.0.1:11435", "http://127.0.0.1:11435"),
        ("gpu.lan", "http://gpu.lan:11434"),
        ("my_box-2.lan.:80", "http://my_box-2.lan.:80"),
        ("http://127.0.0.1:11434", LOOPBACK),
        ("http://127.0.0.1:11434/", LOOPBACK),
        ("http://gpu.lan", "http://gpu.lan:80"),
        ("https://gpu.lan", "https://gpu.lan:443"),
        ("HTTPS://gpu.lan:8443", "https://gpu.lan:8443"),
        ("https://gpu.lan/ollama/v1/", "https://gpu.lan:443/ollama/v1"),
        ("gpu.lan:11435/ollama", "http://gpu.lan:11435/ollama"),
        ("0.0.0.0", LOOPBACK),
        ("0.0.0.0:11435", "http://127.0.0.1:11435"),
        ("http://0.0.0.0:11434", LOOPBACK),
        (":11435", "http://127.0.0.1:11435"),
        ("", LOOPBACK),
        ("::", "http://[::1]:11434"),
        ("[::]:11435", "http://[::1]:11435"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("fd00::7:1", "http://[fd00::7:1]:11434"),
        ("http://[fd00::7]:1", "http://[fd00::7]:1"),
        ("https://[fd00::7]/x", "https://[fd00::7]:443/x"),
        (" '127.0.0.1' ", LOOPBACK),
        ('"127.0.0.1:11434"', LOOPBACK),
    ],
)
def test_an_address_becomes_a_url(address: str, url: str) -> None:
    assert server_url(address) == url
    assert server_url(url) == url


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("gpu:port", "'port' is not a port from 1 to 65535"),
        ("gpu:0", "'0' is not a port"),
        ("gpu:65536", "'65536' is not a port"),
        ("gpu:", "'' is not a port"),
        ("gpu:\u0661", "is not a port"),
        ("ftp://gpu", "not 'ftp'"),
        ("http://user:secret@gpu", "has no user"),
        ("gpu?x=1", "no user, query or fragment"),
        ("one two", "'one two' is not the name or address of a host"),
        ("[::1", r"'\[:' is not the name"),
        ("-gpu", "'-gpu' is not the name"),
    ],
)
def test_what_is_no_address_is_refused(address: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        server_url(address)


def test_the_configuration_takes_one_server_or_several_under_the_former_key_too() -> None:
    def hosts(**vram: object) -> tuple[str, ...]:
        return AppConfig.model_validate({"vram": vram}).vram.ollama_hosts

    assert hosts() == hosts(ollama_hosts=[]) == hosts(ollama_url=None) == ()
    assert hosts(ollama_hosts="0.0.0.0") == hosts(ollama_url="http://127.0.0.1:11434") == (LOOPBACK,)
    assert hosts(ollama_hosts=["127.0.0.1", "gpu:11435", LOOPBACK]) == (LOOPBACK, "http://gpu:11435")
    with pytest.raises(ValueError, match=r"vram\.ollama_hosts[\s\S]*'x' is not a port"):
        hosts(ollama_hosts=["127.0.0.1", "gpu:x"])
