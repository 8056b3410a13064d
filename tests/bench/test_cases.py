"""What a bench consists of."""

import pytest

from longreach.bench.cases import GUESSING, Asked, Challenge, Course
from longreach.errors import ArgumentError

USUAL = {"tasks": "adding", "lengths": "10", "cells": "lstm", "remedies": "none", "seeds": 1, "steps": 3, "guess": 0.0}


def asked(**options):
    return Asked(**{**USUAL, **options})


def test_every_combination_comes_once_and_the_first_seed_of_everything_first():
    wanted = asked(tasks="adding,copying", lengths="20,10", cells="lstm,gru", remedies="none,clip-norm", seeds=3)
    cases = list(wanted.cases())
    assert len(cases) == 2 * 2 * 2 * 2 * 3
    assert len({case.name for case in cases}) == len(cases)
    assert [case.seed for case in cases] == sorted(case.seed for case in cases)
    assert [case.length for case in cases[:8]] == [10] * 4 + [20] * 4


def test_what_is_usual_may_be_said_or_not_and_is_the_same_case():
    tasks = "adding,adding:le,adding:variant=le,temporal-order:pascanu,temporal-order,delayed-xor:delay=10,delayed-xor"
    cases = [*asked(tasks=tasks, lengths="100").cases()]
    assert [case.challenge.name for case in cases] == ["adding", "temporal-order", "delayed-xor"]


def test_guessing_comes_once_a_task_and_length_whatever_the_seeds():
    cases = [case for case in asked(lengths="10,20", seeds=3, guess=2.5).cases() if case.course.cell == GUESSING]
    assert [(case.length, case.seconds) for case in cases] == [(10, 2.5), (20, 2.5)]


@pytest.mark.parametrize(
    ("text", "variant", "fields"),
    [
        ("copying", "", {}),
        ("adding", "le", {}),
        ("adding:bai", "bai", {"variant": "bai"}),
        ("adding:variant=bai", "bai", {"variant": "bai"}),
        ("temporal-order:longest=200", "pascanu longest=200", {"longest": 200}),
        ("temporal-order:hochreiter", "hochreiter", {"variant": "hochreiter"}),
        ("memorisation:values=2:positions=20", "values=2 positions=20", {"values": 2, "positions": 20}),
        ("time-indicator:noise=0.5", "noise=0.5", {"noise": 0.5}),
    ],
)
def test_a_task_is_read_with_its_fields(text, variant, fields):
    challenge = Challenge.read(text)
    assert challenge.variant == variant
    task = challenge.at(100)
    assert {name: getattr(task, name) for name in fields} == fields
    assert Challenge.read(str(challenge)).at(100) == task


def test_yes_and_no_are_what_a_user_types():
    challenge = Challenge.read("digits:permuted=yes:folder=mnist")
    assert dict(challenge.options) == {"permuted": True, "folder": "mnist"}
    assert Challenge.read(str(challenge)) == challenge


def test_published_figures_are_those_of_the_variant():
    assert {one.variant for one in Challenge.read("adding:hochreiter").published()} == {"hochreiter", ""}
    assert all(one.variant in ("le", "") for one in Challenge.read("adding").published())
    assert Challenge.read("memorisation:values=2").published() == Challenge.read("memorisation").published() != ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "adding,nonsense"}, "expected one of adding, multiplication"),
        ({"tasks": "adding:nonsense"}, "--tasks adding:nonsense.*variant: expected one of le, hochreiter"),
        ({"tasks": "copying:le"}, "expected nothing after its name, got 'variant'"),
        ({"tasks": "adding:noise=2"}, "expected one of variant, got 'noise'"),
        ({"tasks": " , "}, "--tasks: expected one name or more"),
        ({"tasks": "adding:hochreiter", "lengths": "100,10"}, "--lengths 10: adding: length: expected at least 22"),
        ({"lengths": "10,x"}, "--lengths: expected whole numbers as 100,200, got '10,x'"),
        ({"cells": "lstm,nonsense"}, "cell 'nonsense': expected one of lstm"),
        ({"remedies": "none,clip-norm+nonsense"}, "remedy 'nonsense': expected one of"),
        ({"seeds": 0}, "--seeds: expected 1 or more, got 0"),
        ({"steps": 0}, "--steps: expected 1 or more, got 0"),
        ({"guess": -1.0}, "--guess: expected 0 or more"),
        ({"guess": float("nan")}, "--guess: expected 0 or more, got nan"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_once(options, message):
    with pytest.raises(ArgumentError, match=message):
        asked(**options)


def test_courses_are_every_cell_with_every_remedy():
    courses = asked(cells="lstm,min-gru+phases", remedies="none,clip-norm+identity-init").courses()
    assert courses == [
        Course("lstm"),
        Course("lstm", ("clip-norm", "identity-init")),
        Course("min-gru+phases"),
        Course("min-gru+phases", ("clip-norm", "identity-init")),
    ]
    assert str(courses[1]) == "lstm with clip-norm+identity-init"
