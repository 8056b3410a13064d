"""What is kept of a bench."""

import io
import math

import polars
import pytest

from longreach.bench.cases import Case, Challenge, Course
from longreach.bench.results import Results, Row, parquet

CASE = Case(Challenge.read("adding"), 10, Course("lstm", ("clip-norm", "guard")), 0, 3)
OTHER = Case(Challenge.read("copying"), 20, Course("gru"), 1, 3)
FACTS = {"updates": 3, "seconds": 1.5, "loss": math.nan, "wrong": 0.25, "need": None, "outcome": "ended"}


def test_rows_come_back_as_they_were(tmp_path):
    results = Results(tmp_path)
    results.add(CASE, Row.of(CASE, **FACTS))
    results.add(OTHER, Row.of(OTHER, outcome="diverged", failed="training broke"))
    again = Results(tmp_path)
    again.recall([CASE, OTHER])
    first, second = again.rows()
    assert (first.task, first.variant, first.cell, first.remedies) == ("adding", "le", "lstm", "clip-norm+guard")
    assert math.isnan(first.loss or 0)
    assert second == Row("copying", "", 20, "gru", "none", 1, outcome="diverged", failed="training broke")


def test_what_crashed_or_cannot_be_read_is_run_again(tmp_path):
    results = Results(tmp_path)
    results.add(CASE, Row.of(CASE, failed="it was killed by signal 9"))
    results.add(OTHER, Row.of(OTHER, **FACTS))
    file = tmp_path / "rows" / f"{OTHER.name}.json"
    again = Results(tmp_path)
    again.recall([CASE, OTHER])
    assert (again.holds(CASE), again.holds(OTHER)) == (False, True)
    file.write_text(file.read_text()[:40])
    cut = Results(tmp_path)
    cut.recall([CASE, OTHER])
    assert cut.rows() == []


def test_the_types_of_the_columns_do_not_depend_on_what_is_in_them(tmp_path):
    tables = [
        polars.read_parquet(io.BytesIO(parquet(rows)))
        for rows in ([], [Row.of(CASE)], [Row.of(CASE, **FACTS), Row.of(OTHER)])
    ]
    assert tables[0].schema == tables[1].schema == tables[2].schema
    assert tables[2]["updates"].to_list() == [3, None]
    assert tables[2]["solved"].to_list() == [False, False]
    assert tables[2].schema["seconds"] == polars.Float64


def test_a_full_disk_leaves_the_table_from_before(tmp_path, monkeypatch):
    results = Results(tmp_path)
    results.add(CASE, Row.of(CASE, **FACTS))
    before = (tmp_path / "results.parquet").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.add(OTHER, Row.of(OTHER, **FACTS))
    assert (tmp_path / "results.parquet").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["results.parquet", "rows"]
