"""A table of labelled sequences: a step in each row, or a text in each row."""

from pathlib import Path

from longreach.errors import ArgumentError, DataError
from longreach.training.labelled.sequence import Labelled, part_of
from longreach.training.table import MISSING, Table, check_columns, numbers, table


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
    frame = table(file, missing=() if text else MISSING)
    named = {"--label": label, "--sequence": sequence, "--time": time, "--text": text, "--split-column": split}
    roles: dict[str, str] = {}
    for option, column in named.items():
        if column is None:
            continue
        check_columns(frame, [column], option, str(file))
        if column in roles:
            raise ArgumentError(f"{roles[column]}, {option}: expected two columns, got {column!r} for both")
        roles[column] = option
    for column in roles:
        if frame[column].null_count():
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
        found.add(line, name, place, part_of(part, f"{place}: column {split!r}") if part is not None else None)
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
    rows = numbers(frame, features, where)
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
