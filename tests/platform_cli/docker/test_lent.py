from __future__ import annotations

import os
from pathlib import Path

import pytest

from platform_cli.docker import lent as module
from platform_cli.docker.lent import Index, certificates, lent, npm_registry, pip_index, proxies, uv_index

CONFIG = """\
:env:.index-url='https://me:pass@index.example/simple'
global.cert='/etc/ssl/own.crt'
global.extra-index-url='file:///srv/wheels https://more.example/simple'
global.index-url='https://other.example/simple'
global.trusted-host='more.example'
"""


def test_the_index_is_pips_variables_before_files_without_directories_of_this_machine() -> None:
    assert pip_index(CONFIG) == Index(
        "https://me:pass@index.example/simple", ("https://more.example/simple",), ("more.example",)
    )
    assert pip_index("global.index-url='file:///srv/wheels'\n") == Index()
    assert pip_index("") == Index()


def test_the_index_as_pip_and_uv_read_it() -> None:
    index = pip_index(CONFIG)
    assert index.pip_conf() == (
        "[global]\nindex-url = https://me:pass@index.example/simple\nextra-index-url = https://more.example/simple\n"
        "trusted-host = more.example\n"
    )
    assert index.uv_toml() == (
        'allow-insecure-host = ["more.example"]\n[[index]]\nurl = "https://more.example/simple"\n'
        '[[index]]\nurl = "https://me:pass@index.example/simple"\ndefault = true\n'
    )
    assert (Index().pip_conf(), Index().uv_toml()) == ("", "")


def test_uvs_own_variables_come_before_pips() -> None:
    variables = {"UV_DEFAULT_INDEX": "https://uv.example", "UV_INDEX": "own=https://a.example/?x=1 /srv/wheels"}
    assert uv_index(variables, pip_index(CONFIG)) == Index(
        "https://uv.example", ("https://a.example/?x=1",), ("more.example",)
    )
    assert uv_index({}, pip_index(CONFIG)) == pip_index(CONFIG)


def test_certificates_are_those_that_a_variable_names_or_the_systems_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.crt"
    file.touch()
    monkeypatch.setattr(module, "OWN_CERTIFICATES", tmp_path / "none")
    assert certificates({"SSL_CERT_FILE": "/nowhere.crt", "PIP_CERT": str(file)}) == file
    assert certificates({}) is None
    monkeypatch.setattr(module, "OWN_CERTIFICATES", tmp_path)
    monkeypatch.setattr(module, "SYSTEM_CERTIFICATES", file)
    assert certificates({}) == file


def test_proxies_in_both_spellings() -> None:
    assert proxies({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1", "HTTP_PROXY": "", "PATH": "/bin"}) == {
        "HTTPS_PROXY": "http://q:1",
        "https_proxy": "http://p:1",
    }


def test_npms_registries_are_those_of_its_file_and_its_variable_without_paths_of_this_machine(tmp_path: Path) -> None:
    assert npm_registry({}, tmp_path) == ""
    (tmp_path / ".npmrc").write_text(
        "registry = https://npm.example/\n//npm.example/:_authToken=secret\n@own:registry=https://own.example/\n"
        "cafile=/etc/ssl/own.crt\n; registry=https://old.example/\nstrict-ssl=false\n"
    )
    told = (
        "registry = https://npm.example/\n//npm.example/:_authToken=secret\n@own:registry=https://own.example/\n"
        "strict-ssl=false\n"
    )
    assert npm_registry({}, tmp_path) == told
    assert npm_registry({"NPM_CONFIG_USERCONFIG": str(tmp_path / ".npmrc")}, Path("/nowhere")) == told
    # npm takes the last of two lines
    own = {"npm_config_registry": "https://proxy.example/"}
    assert npm_registry(own, tmp_path) == f"{told}registry=https://proxy.example/\n"


def test_what_is_lent_can_be_read_by_nobody_else_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_pip_config", lambda: CONFIG)
    with lent(tmp_path / "lent") as loan:
        for name in ("pip", "uv"):
            assert loan.secrets[name].stat().st_mode & 0o077 == 0
            assert "me:pass@index.example" in loan.secrets[name].read_text()
    assert not (tmp_path / "lent").exists()


def test_this_machines_own_settings_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with lent(tmp_path / "lent") as loan:
        assert "index-url = https://index.example/simple\n" in loan.secrets["pip"].read_text()
