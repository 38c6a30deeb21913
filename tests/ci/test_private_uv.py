from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / ".ci" / "private_uv.py"


@pytest.fixture
def private_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module with a folder of its own, no uv on the PATH and no pip."""
    spec = importlib.util.spec_from_file_location("private_uv", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(module, "TOOLS", str(tmp_path))
    monkeypatch.setattr(module, "PRIVATE", str(tmp_path / "uv"))
    monkeypatch.setattr(module, "_by_pip", lambda: False)
    return module


@pytest.fixture
def wheel(private_uv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A wheel with a program in it, which the package registry gives."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"uv-{private_uv.VERSION}.data/scripts/uv", "#!/bin/sh\n")
    monkeypatch.setattr(
        private_uv.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(file.getvalue())
    )
    monkeypatch.setattr(private_uv, "SHA256", hashlib.sha256(file.getvalue()).hexdigest())
    return file.getvalue()


@pytest.mark.parametrize(("version", "used"), [("0.9.0", True), ("1.0.0", True), ("0.8.24", False)])
def test_a_uv_on_the_path_is_used_if_it_can_read_the_project(
    private_uv: ModuleType, wheel: bytes, tmp_path: Path, version: str, used: bool
) -> None:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f"#!/bin/sh\necho 'uv {version}'\n")
    uv.chmod(0o755)
    assert (private_uv.find_uv() == str(uv)) == used


def test_an_interrupted_fetch_is_repeated(private_uv: ModuleType, wheel: bytes, tmp_path: Path) -> None:
    (tmp_path / "uv" / "bin").mkdir(parents=True)
    (tmp_path / "uv" / "bin" / "uv.staged").write_text("half")
    found = Path(private_uv.find_uv())
    assert found == tmp_path / "uv" / "bin" / "uv"
    assert found.stat().st_mode & 0o111
    assert [path.name for path in found.parent.iterdir()] == ["uv"]


def test_a_file_that_is_not_the_published_one_is_refused(
    private_uv: ModuleType, wheel: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(private_uv, "SHA256", "0" * 64)
    assert private_uv.main() == 2
    printed = capsys.readouterr().err
    assert "is not the published file" in printed
    assert "or install uv by hand" in printed


def test_without_the_network_the_next_step_is_named(
    private_uv: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise OSError("Name or service not known")

    monkeypatch.setattr(private_uv.urllib.request, "urlopen", refuse)
    assert private_uv.main() == 2
    assert "Name or service not known. Check network and proxy" in capsys.readouterr().err
