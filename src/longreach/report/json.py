"""The diagnosis as strict JSON: `diagnosis.json` in the run folder, for programs, and to be read back.

Numbers that JSON cannot hold are the strings "nan", "inf" and "-inf", as in the record. A gain below or above the range
of a float reads 0.0 or "inf"; its logarithm stands beside it.
"""

import json
import math
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from longreach import record as records
from longreach.diagnosis.finding import SEVERITIES, Finding
from longreach.diagnosis.verdict import Diagnosis
from longreach.errors import RunReadError
from longreach.plain import plain
from longreach.record import DeepNeed, Layer, Need, Reach, Record

SCHEMA = "longreach.diagnosis/1"
NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def render(diagnosis: Diagnosis) -> str:
    """One key a line, so that people can read it too."""
    record = json.loads(diagnosis.record.to_json())
    content = {
        "schema": SCHEMA,
        "verdict": diagnosis.verdict,
        "undecided": diagnosis.undecided,
        "findings": list(diagnosis.findings),
        "layers": [_layer(layer) for layer in diagnosis.record.layers],
        "overhead": diagnosis.record.overhead,
        "steps": diagnosis.record.steps,
        "seconds": diagnosis.record.seconds,
        "loss": record["loss"],
        "notes": record["notes"],
        "run": record["run"],
        "record": record,
    }
    lines = (f"  {json.dumps(key)}: {json.dumps(plain(value), allow_nan=False)}" for key, value in content.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load(text: str) -> Diagnosis:
    """The inverse of `render`; the findings are those that were written, not judged anew."""
    content = _parsed(text)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        came = content.get("schema", "no schema at all") if isinstance(content, dict) else "something else"
        raise _unreadable(f"got {came!r:.60}; read it with the version of longreach that wrote it")
    try:
        record = Record.from_json(json.dumps(content["record"]))
        findings = tuple(_finding(entry) for entry in content["findings"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise _unreadable(f"got one that lacks or garbles a part ({error!s:.60}); run the script again") from error
    if record.schema != records.SCHEMA or not all(_fits(thing, type(thing)) for thing in (record, *findings)):
        raise _unreadable("got one with a value of the wrong type; run the script again")
    return Diagnosis(record, findings)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"got text that is cut off or not JSON ({error!s:.60}); run the script again") from error


def _unreadable(came: str) -> RunReadError:
    return RunReadError(f"expected a whole diagnosis of schema {SCHEMA}, {came}")


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "module": layer.module,
        "kind": layer.kind,
        "index": layer.index,
        "direction": layer.direction,
        "hidden": layer.hidden,
        "reach": _reach(layer.reach) if layer.reach else None,
        "need": _need(layer.need) if layer.need else None,
        "deep": _deep(layer.deep) if layer.deep else None,
        "memory": plain(layer.memory) if layer.memory else None,
        "blind": layer.blind,
    }


def _reach(reach: Reach) -> dict[str, Any]:
    return {
        "lag": reach.lag,
        "threshold": reach.threshold,
        "horizon": reach.horizon,
        "growth": reach.growth,
        "samples": reach.samples,
        "curve": {
            "lag": reach.lags,
            "gain": [_exp(value) for value in reach.log_gain],
            "log_gain": reach.log_gain,
            "signal": None if reach.log_signal is None else [_exp(value) for value in reach.log_signal],
            "log_signal": reach.log_signal,
        },
    }


def _need(need: Need) -> dict[str, Any]:
    return {
        "lag": need.lag,
        "p_value": need.p_value,
        "level": need.level,
        "detectable": need.detectable,
        "sequences": need.sequences,
        "curve": {"lag": need.lags, "strength": need.strength},
    }


def _deep(deep: DeepNeed) -> dict[str, Any]:
    return {**_need(deep.need), "partner": deep.partner, "scanned": deep.scanned, "seconds": deep.seconds}


def _exp(log: float) -> float:
    """exp that ends in inf instead of an error."""
    return math.exp(log) if not log > 709 else math.inf


def _finding(entry: dict[str, Any]) -> Finding:
    evidence = {
        key: NUMBERS.get(value, value) if isinstance(value, str) else value for key, value in entry["evidence"].items()
    }
    finding = Finding(**{**entry, "evidence": evidence, "remedies": tuple(entry["remedies"])})
    if finding.severity not in SEVERITIES:
        raise ValueError(f"severity {finding.severity}")
    return finding


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value read from a file is what the annotation `kind` promises."""
    if kind is Any or typing.get_origin(kind) in (dict, typing.Literal):
        return kind is Any or typing.get_origin(kind) is typing.Literal or isinstance(value, dict)
    if isinstance(kind, types.UnionType):
        return any(_fits(value, option) for option in kind.__args__)
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(entry, kind.__args__[0]) for entry in value)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return isinstance(value, typing.cast(type, kind)) and all(
            _fits(getattr(value, f.name), hints[f.name]) for f in fields(kind)
        )
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))
