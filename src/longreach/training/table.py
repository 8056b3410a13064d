"""Tables of measurements, from CSV and Parquet: columns as numbers, as times, as groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from longreach.errors import DataError
from longreach.report.words import safe

Table = Any  # of polars, which is read in only where there is one

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")  # what people write where there is no number


def table(file: Path, *, has_header: bool = True, missing: Sequence[str] = MISSING) -> Table:
    """A CSV or Parquet file. Texts of a CSV that are one of `missing` are missing entries.

    Raises  DataError where there is no such file, where it holds no table, or no row
    """
    import polars
    from polars.exceptions import NoDataError, PolarsError

    try:
        if file.suffix.lower() == ".parquet":
            found = polars.read_parquet(file)
        else:
            found = polars.read_csv(file, has_header=has_header, infer_schema_length=None, null_values=list(missing))
    except FileNotFoundError:
        raise DataError(f"{file}: expected a CSV or Parquet file, found none of that name") from None
    except NoDataError:
        raise DataError(f"{file}: expected a table, got an empty file") from None
    except (PolarsError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file}: expected a CSV or Parquet table, got one that cannot be read: {reason}") from None
    if not len(found):
        raise DataError(f"{file}: expected a line of names and lines of entries, got {_lines(found)}")
    return found


def _lines(found: Table) -> str:
    return f"one line: {safe(', '.join(found.columns), 80)}" if found.columns else "no columns"


def check_columns(found: Table, names: Sequence[str], option: str, where: str) -> None:
    """Raises DataError for a column that is not there, with those there are, or is named twice."""
    for number, name in enumerate(names):
        if name not in found.columns:
            raise DataError(f"{where}: {option}: expected columns of {', '.join(found.columns)}; got {name!r}")
        if name in names[:number]:
            raise DataError(f"{where}: {option}: expected each column once, got {name!r} twice")


def numbers(found: Table, names: Sequence[str], where: str) -> Float32[np.ndarray, "row column"]:
    """Columns as numbers; what is missing is NaN.

    Raises  DataError with row, column and value of the first entry that is no number, or is infinite. Rows are counted
            without the line of names
    """
    columns = [_number_column(found[name], where) for name in names]
    return np.stack(columns, axis=1) if columns else np.zeros((len(found), 0), dtype=np.float32)


def _number_column(column: Any, where: str) -> Float32[np.ndarray, " row"]:
    import polars

    found = column
    if column.dtype == polars.String:
        found = column.str.strip_chars().cast(polars.Float64, strict=False)
        wrong = found.is_null() & column.is_not_null()
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise DataError(
                f"{where}: column {column.name!r}, row {row + 1}: expected a number, got {column[row]!r}; mend it, or "
                "leave the entry empty if nothing was measured"
            )
    elif not (column.dtype.is_numeric() or column.dtype in (polars.Boolean, polars.Null)):
        raise DataError(f"{where}: column {column.name!r}: expected numbers, got {column.dtype}")
    array = found.cast(polars.Float64).to_numpy().astype(np.float32)
    if np.isinf(array).any():
        row = int(np.isinf(array).argmax())
        raise DataError(
            f"{where}: column {column.name!r}, row {row + 1}: expected a finite number, got {column[row]}; leave the "
            "entry empty if nothing was measured"
        )
    return array
