"""Which proxy the environment names, and for whom it names none."""

from __future__ import annotations

import pytest

from anyio_acs_credential._http.environment import Exemptions, find_proxy, unreadable


@pytest.mark.parametrize(
    ("entries", "hosts"),
    [
        ("fe80::/10", ["fe80::1", "febf::1", "fe80::1%eth0"]),
        ("[fe80::]/10", ["fe80::1"]),
        ("localhost,[::1]", ["localhost", "::1"]),
        ("::1", ["::1"]),
        ("2001:DB8::1", ["2001:db8:0::1"]),
        ("[::1]:443", ["::1"]),
        ("10.0.0.0/8", ["10.1.2.3"]),
        ("10.9.9.9/8", ["10.1.2.3"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("127.0.0.1:443", ["127.0.0.1"]),
        ("azure.com", ["azure.com", "contoso.azure.com", "contoso.azure.com.", "CONTOSO.azure.com"]),
        (".azure.com", ["contoso.azure.com"]),
        ("*.azure.com", ["contoso.azure.com"]),
        ("Azure.com.", ["contoso.azure.com"]),
        ("bücher.example", ["xn--bcher-kva.example"]),
        ("bu\u0308cher.example", ["xn--bcher-kva.example"]),  # the same, as macOS writes it
        ("*.BÜCHER\u3002example", ["a.xn--bcher-kva.example"]),
        ("a.example b.example\tc.example", ["b.example", "c.example"]),
        ("https://azure.com:443", ["azure.com"]),
        ("all://azure.com", ["azure.com"]),
        ("*", ["azure.com", "::1"]),
        ("a.example, *", ["azure.com"]),
    ],
)
def test_whom_an_entry_names(entries: str, hosts: list[str]) -> None:
    """Each form that curl, requests or httpx takes; of those with colons, httpx refuses some."""
    exemptions = Exemptions(entries)
    assert [host for host in hosts if not exemptions.covers("https", host, 443)] == []


@pytest.mark.parametrize(
    "entries",
    [
        "",
        " , ",
        "other.example",
        "com.azure",
        "oso.azure.com",
        ".0.1",
        "azure.com:8443",
        "http://azure.com",
        "[",
        "[::",
        "[::1]x",
        "::1/129",
        "azure.com:port",
        ":443",
        "//",
        "foo:bar:baz",
        "10.0.0.0/8",
        "::/0",
        "\udcff.example",
        "*:443",
        "..",
        "a" * 300,
    ],
)
def test_whom_an_entry_does_not_name(entries: str) -> None:
    """What cannot be understood names nobody, and is no error (encode/httpx#3221)."""
    exemptions = Exemptions(entries)
    for host in ("contoso.azure.com", "127.0.0.1"):
        assert not exemptions.covers("https", host, 443)


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ("", []),
        ("*, azure.com,.azure.com *.Azure.com. 10.0.0.0/8,[::1]:443 https://azure.com:1 a_b", []),
        ("[ ,azure.com", ["["]),
        ("*:443,:443,//,..", ["*:443", ":443", "//", ".."]),
        (
            "azure.com:port azure.com:0 azure.com:65536 azure.com:\u0661",
            ["azure.com:port", "azure.com:0", "azure.com:65536", "azure.com:\u0661"],
        ),
        ("10.0.0.0/33 ::1/129 a:b:c b\u00fccher.example", ["10.0.0.0/33", "::1/129", "a:b:c"]),
    ],
)
def test_entries_that_name_nobody(entries: str, found: list[str]) -> None:
    assert unreadable(entries) == found


@pytest.mark.parametrize(
    ("proxies", "found"),
    [
        ({}, None),
        ({"http": "http://a", "no": "x"}, None),
        ({"https": "http://a", "all": "http://b"}, ("HTTPS_PROXY", "http://a")),
        ({"https": "", "all": "http://b"}, ("all_proxy", "http://b")),
        ({"https": "http://elsewhere"}, ("the system's proxy for https", "http://elsewhere")),
    ],
)
def test_which_proxy_is_used_and_who_names_it(
    proxies: dict[str, str], found: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://a")
    monkeypatch.setenv("all_proxy", "http://b")
    assert find_proxy(proxies) == found
