"""A table of labelled sequences: a step in each row, or a text in each row."""

from pathlib import Path
from typing import Any

from longreach.errors import ArgumentError, DataError
from longreach.training.labelled import Labelled, Numbers, finite, part_of

Table = Any  # of polars, which is read in only where there is one


def read(
    file: Path,
    *,
    label: str = "label",
    sequence: str | None = None,
    time: str | None = None,
    text: str | None = None,
    split: str | None = None,
) -> Labelled:
    """The sequences of a CSV or Parquet file.

    label     column of the labels
    sequence  column that says which sequence a row is a step of; all columns not named here are features
    time      column that orders the steps of a sequence; None: they are in order
    text      instead: column of texts, a whole sequence in each row
    split     column that says train, validation or test

    Raises  ArgumentError where it is not clear which is meant; DataError for columns that are not there, labels and
            parts that change within a sequence or are missing, times that occur twice, features that are no numbers
    """
    if (sequence is None) == (text is None):
        raise ArgumentError(
            "expected --sequence COLUMN, where each row is a step, or --text COLUMN, where each row is a text; got "
            + ("neither" if text is None else "both")
        )
    frame = table(file)
    named = {"--label": label, "--sequence": sequence, "--time": time, "--text": text, "--split-column": split}
    for option, column in named.items():
        if column is not None and column not in frame.columns:
            raise DataError(f"{file}: {option}: expected a column of {', '.join(frame.columns)}, got {column!r}")
    if len(frame) == 0:
        raise DataError(f"{file}: expected rows of sequences, got names of columns alone")
    for column in (label, sequence, time, text, split):
        if column is not None and frame[column].null_count():
            row = int(frame[column].is_null().arg_max() or 0)
            raise DataError(f"{file}: column {column!r}: expected an entry in every row, got none in row {row + 1}")
    if text is not None:
        return _texts(frame, str(file), text, label, split)
    assert sequence is not None
    return _steps(frame, str(file), sequence, label, time, split)


def _texts(frame: Table, where: str, text: str, label: str, split: str | None) -> Labelled:
    import polars

    if frame[text].dtype != polars.String:
        raise DataError(f"{where}: column {text!r}: expected texts, got {frame[text].dtype}")
    found, parts = Labelled(), frame[split].cast(polars.String) if split else [None] * len(frame)
    for row, (line, name, part) in enumerate(zip(frame[text], frame[label].cast(polars.String), parts, strict=True)):
        place = f"{where}: row {row + 1}"
        found.add(line, name, place, part_of(part, f"{place}: column {split!r}") if part else None)
    return found


def _steps(frame: Table, where: str, sequence: str, label: str, time: str | None, split: str | None) -> Labelled:
    import polars

    if time is not None:
        twice = frame.select(sequence, time).is_duplicated()
        if twice.any():
            row = frame.filter(twice).row(0, named=True)
            raise DataError(
                f"{where}: column {time!r}: expected each time once in a sequence, got {row[time]!r} twice in sequence "
                f"{row[sequence]!r}"
            )
    features = [name for name in frame.columns if name not in (sequence, label, time, split)]
    if not features:
        raise DataError(f"{where}: expected columns of features besides {', '.join(frame.columns)}, got none")
    rows = numbers(frame.select(features), where)
    order = frame.select(polars.arg_sort_by([sequence, *([time] if time else [])], maintain_order=True)).to_series()
    rows, frame = rows[order.to_numpy()], frame[order]
    facts = frame.group_by(sequence, maintain_order=True).agg(
        polars.len().alias("steps"),
        *(
            polars.col(one).cast(polars.String).unique().alias(name)
            for name, one in (("label", label), ("part", split))
            if one
        ),
    )
    found, begin = Labelled(features=tuple(features)), 0
    for fact in facts.iter_rows(named=True):
        place = f"{where}: sequence {fact[sequence]!r}"
        for column, values in ((label, fact["label"]), (split, fact.get("part", [None]))):
            if len(values) > 1:
                raise DataError(f"{place}: expected one {column!r} in all its rows, got {' and '.join(sorted(values))}")
        part = part_of(fact["part"][0], f"{place}: column {split!r}") if split else None
        found.add(rows[begin : begin + fact["steps"]], fact["label"][0], place, part)
        begin += fact["steps"]
    return found


def table(file: Path, **options: Any) -> Any:
    """A CSV or Parquet file as a table of polars. Raises DataError where it is none."""
    import polars
    from polars.exceptions import PolarsError

    try:
        if file.suffix.lower() == ".parquet":
            return polars.read_parquet(file)
        return polars.read_csv(file, infer_schema_length=None, **options)
    except polars.exceptions.NoDataError:
        raise DataError(f"{file}: expected a table, got an empty file") from None
    except (PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file}: expected a CSV or Parquet table, got one that cannot be read: {reason}") from None


def numbers(frame: Any, where: str) -> Numbers:
    """A table's columns as numbers, missing ones as NaN. Raises DataError with the first entry that is none."""
    import polars

    for name in frame.columns:
        column = frame[name]
        if column.dtype == polars.String:
            parsed = column.cast(polars.Float64, strict=False)
            wrong = parsed.is_null() & column.is_not_null()
            if wrong.any():
                row = int(wrong.arg_max() or 0)
                raise DataError(
                    f"{where}: column {name!r}: expected numbers, got {column[row]!r} in row {row + 1}; mend it or "
                    "leave the column out"
                )
        elif not (column.dtype.is_numeric() or column.dtype in (polars.Boolean, polars.Null)):
            raise DataError(f"{where}: column {name!r}: expected numbers, got {column.dtype}; leave the column out")
    return finite(frame.cast(polars.Float32).to_numpy(), where)
