"""What DBOS may read and write: JSON, errors by name, and never a pickle."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
from pathlib import Path

import dbos
import pytest
from dbos import _serialization as place

from control_plane.engine.dbos_codec import JsonCodec, RoutineFailed, refuse_pickle
from control_plane.errors import Refused, Unavailable

ROOT = Path(__file__).parents[3]


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._folder),)


@pytest.mark.parametrize("data", ["word", None, {"args": ["note", "job-1"], "kwargs": {}}, 7])
def test_plain_values_come_back_as_they_were(data: object) -> None:
    assert JsonCodec().deserialize(JsonCodec().serialize(data)) == data


def test_the_arguments_of_a_workflow_come_back_as_a_list() -> None:
    text = JsonCodec().serialize({"args": ("note", "job-1"), "kwargs": {}})
    assert JsonCodec().deserialize(text) == {"args": ["note", "job-1"], "kwargs": {}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("secret"), "ValueError"), (RoutineFailed("KeyError"), "KeyError")],
)
def test_an_error_keeps_its_name_and_loses_its_text(error: Exception, kind: str) -> None:
    text = JsonCodec().serialize(error)
    assert "secret" not in text
    back = JsonCodec().deserialize(text)
    assert isinstance(back, RoutineFailed)
    assert back.kind == kind


@pytest.mark.parametrize("data", [object(), {1, 2}, b"bytes", Path("x"), float("nan")])
def test_what_json_has_no_form_for_is_not_written(data: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        JsonCodec().serialize(data)


def test_no_reader_of_dbos_unpickles_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "ran"
    row = base64.b64encode(pickle.dumps(Evil(folder))).decode()
    pickle.loads(base64.b64decode(row))  # noqa: S301 -- the row does run code when it is unpickled
    assert folder.exists()
    folder.rmdir()

    refuse_pickle()
    codec = JsonCodec()
    readers = [
        lambda: place.deserialize_value(row, "py_pickle", codec),  # type: ignore[arg-type]
        lambda: place.deserialize_args(row, "py_pickle", codec),  # type: ignore[arg-type]
        lambda: place.deserialize_exception(row, "py_pickle", codec),  # type: ignore[arg-type]
        lambda: place.DefaultSerializer().deserialize(row),
        lambda: place.DBOSDefaultSerializer.deserialize(row),
    ]
    for reader in readers:
        with pytest.raises(Refused) as refusal:
            reader()  # type: ignore[no-untyped-call]
        assert refusal.value.code == "pickle_refused"
    read: tuple[object, ...] = place.safe_deserialize(
        codec,  # type: ignore[arg-type]
        "py_pickle",
        "job-1",
        serialized_input=row,
        serialized_output=row,
        serialized_exception=row,
    )
    assert read == (row, row, row)
    assert not folder.exists()


def test_dbos_unpickles_in_one_place_only() -> None:
    folder = Path(dbos.__file__).parent
    words = ("pickle.load", "Unpickler", "cloudpickle", "import dill", "jsonpickle", "marshal.load")
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if any(word in path.read_text() for word in words)
    }
    assert found == {"_serialization.py"}


def test_a_dbos_without_the_place_to_shut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(place.DefaultSerializer, "deserialize")
    with pytest.raises(Unavailable):
        refuse_pickle()


def test_a_dbos_that_unpickles_by_another_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def deserialize(self, text: str) -> object:
            return text

    monkeypatch.setattr(place, "DBOSDefaultSerializer", Other())
    with pytest.raises(Unavailable):
        refuse_pickle()


def test_importing_the_engine_does_not_import_dbos() -> None:
    code = (
        "import sys, control_plane.engine.dbos_engine, control_plane.engine.dbos_codec;"
        "sys.exit('dbos' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, timeout=30, env={"PATH": os.defpath}
    )
    assert done.returncode == 0
