"""The clinic's harness: its cases are sound, its spy leaves no trace, its rules and intervals do what they say."""

import re
import shlex
from collections import Counter

import pytest
import torch
from benchmarks.clinic import outpatient, published, tables
from benchmarks.clinic.__main__ import Ledger, run
from benchmarks.clinic.cases import Pair, chosen, pairs
from benchmarks.clinic.spy import Spy
from torch import nn

SCRIPTS = outpatient.HERE / "scripts"


def test_enough_pairs_of_enough_faults_in_two_halves():
    everything = pairs()
    faults = Counter(pair.fault for pair in everything)
    assert 2 * len(everything) >= 120
    assert len(faults) >= 12
    assert min(faults.values()) >= 4
    folds = Counter((pair.fault, pair.fold) for pair in everything)
    assert all(folds[fault, "open"] == folds[fault, "held-out"] for fault in faults)
    commands = [tuple(pair.command(ill)) for pair in everything for ill in (True, False)]
    assert len(commands) == len(set(commands))


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_ordinary_and_take_the_arguments_of_their_cases(script):
    source = script.read_text()
    assert "longreach" not in source
    options = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source))
    used = [
        word for pair in pairs() if pair.script == script.stem for ill in (True, False) for word in pair.command(ill)
    ]
    assert used
    assert {word for word in used if word.startswith("--")} <= options


def test_held_out_pairs_share_no_seed_with_the_open_ones():
    def seeds(fold):
        return {re.search(r"--seed (\d+)", pair.both).group(1) for pair in pairs() if pair.fold == fold}

    assert not seeds("open") & seeds("held-out")
    assert len(chosen([], "open")) == len(chosen([], "held-out")) == len(pairs()) // 2


def losses(spied: bool) -> tuple[list[float], dict]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    spy = Spy()
    if spied:
        spy.__enter__()
    found = []
    for _ in range(12):
        loss = net(torch.randn(20, 3)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    print("epoch 1 loss 0.5 accuracy 0.25 held-out 0.75")
    if spied:
        spy.__exit__(None, None, None)
    return found, spy.diary


def test_the_spy_leaves_no_trace_and_writes_down_what_it_saw():
    bare, _ = losses(spied=False)
    seen, diary = losses(spied=True)
    assert seen == bare == diary["losses"]
    assert losses(spied=False)[0] == bare
    assert [sample["step"] for sample in diary["samples"]] == [0, 10]
    assert [call["kind"] for call in diary["samples"][0]["calls"]] == ["relu", "tanh"]
    assert diary["samples"][0]["kernels"] == ["0.weight", "2.weight", "4.weight"]
    assert diary["samples"][0]["gradients"]["0.weight"]["count"] == 24
    assert diary["epochs"] == [[12, 0.5, 0.25, 0.75]]


def sample(step: int = 0, **changes) -> dict:
    gradient = {"mean": 0.1, "norm": 1.0, "zeros": 0.0, "count": 10, "spread": 0.2, "finite": 1.0}
    weight = {"variance": 0.1, "zeros": 0.0, "ratio": 1e-3, "moved": 1.0, "finite": 1.0}
    return {
        "step": step,
        "calls": [],
        "outputs": [1.0, 1.0],
        "kernels": ["a", "b"],
        "gradients": {"a": gradient | changes.get("gradient", {}), "b": gradient},
        "weights": {"a": weight | changes.get("weight", {}), "b": weight},
    }


def diary(**changes) -> dict:
    epochs = [[10 * at, 0.5, 0.1 * at, 0.1 * at] for at in range(1, 10)]
    samples = [sample(step, **changes) for step in range(0, 100, 10)]
    for each in samples:
        each["calls"] = changes.get("calls", [])
        each["outputs"] = changes.get("outputs", each["outputs"])
    losses = changes.get("losses", [0.99**at for at in range(100)])
    return {"losses": losses, "epochs": changes.get("epochs", epochs), "samples": samples}


STUCK = [[10 * at, 0.5, 0.25, 0.25] for at in range(1, 10)]
GOOD = [[10 * at, 0.5, 0.8, 0.8] for at in range(1, 10)]
SWINGS = [[10 * at, 0.5, 0.9 if at % 2 else 0.5, 0.8] for at in range(1, 10)]
TANH = {"kind": "tanh", "large": 0.0, "saturated": 0.0}
RELU = {"kind": "relu", "large": 0.0, "dead": 0.0, "inactive": 0.5}


@pytest.mark.parametrize(
    ("name", "fires", "silent"),
    [
        ("VanishingGradient", {"gradient": {"mean": 0.9e-7}}, {"gradient": {"mean": 1.1e-7}}),
        ("vanishing", {"gradient": {"mean": 0.9e-7}}, {"gradient": {"mean": 1.1e-7}}),
        ("ExplodingTensor", {"gradient": {"finite": 0.0}}, {"gradient": {"mean": 1e9, "norm": 1e9}}),
        ("DeadRelu", {"calls": [RELU | {"dead": 0.51}]}, {"calls": [RELU | {"dead": 0.5}]}),
        ("dead", {"calls": [RELU | {"inactive": 0.7}]}, {"calls": [RELU | {"inactive": 0.69}]}),
        ("SaturatedActivation", {"calls": [TANH | {"saturated": 0.51}]}, {"calls": [TANH | {"saturated": 0.5}]}),
        ("saturated", {"calls": [TANH | {"large": 0.51}]}, {"calls": [TANH | {"large": 0.5}]}),
        ("WeightUpdateRatio", {"weight": {"ratio": 11.0}}, {"weight": {"ratio": 9.0}}),
        ("WeightUpdateRatio", {"weight": {"ratio": 0.9e-8}}, {"weight": {"ratio": 1.1e-8}}),
        ("PoorWeightInitialization", {"weight": {"variance": 1.01}}, {"weight": {"variance": 0.99}}),
        ("PoorWeightInitialization", {"gradient": {"spread": 0.0009}}, {"gradient": {"spread": 0.0011}}),
        (
            "LossNotDecreasing",
            {"losses": [0.9999**at for at in range(100)]},
            {"losses": [0.9998**at for at in range(100)]},
        ),
        ("UnchangedTensor", {"weight": {"moved": 0.0}}, {}),
        ("AllZero", {"weight": {"zeros": 1.0}}, {"weight": {"zeros": 0.9}}),
        ("initialisation", {"weight": {"variance": 11.0}}, {"weight": {"variance": 9.0}}),
        ("VG", {"gradient": {"norm": 0.9e-4}, "epochs": STUCK}, {"gradient": {"norm": 1.1e-4}, "epochs": STUCK}),
        ("VG", {"gradient": {"norm": 0.9e-4}, "epochs": STUCK}, {"gradient": {"norm": 0.9e-4}, "epochs": GOOD}),
        ("GE", {"gradient": {"norm": 71.0}, "epochs": STUCK}, {"gradient": {"norm": 69.0}, "epochs": STUCK}),
        ("DR", {"gradient": {"zeros": 14.0}, "epochs": STUCK}, {"gradient": {"zeros": 13.0}, "epochs": STUCK}),
        ("SC", {"epochs": STUCK}, {}),
        ("OL", {"epochs": SWINGS}, {}),
        ("AD", {"outputs": [10.0, 1.0]}, {"outputs": [9.9, 99.0]}),
    ],
)
def test_published_rules_on_both_sides_of_their_thresholds(name, fires, silent):
    def said(changes):
        return [each for names in published.judge(diary(**changes)).values() for each in names]

    assert name in said(fires)
    assert name not in said(silent)


def test_every_fault_says_which_published_names_are_right():
    assert set(published.RIGHT) == {pair.fault for pair in pairs()}
    known = {*published.SAGEMAKER, *published.DEEPDIAGNOSIS, "VG", "GE", "DR", "OL", "SC", "AD"}
    assert set().union(*published.RIGHT.values()) <= known


def test_intervals_are_those_of_clopper_and_pearson():
    assert tables.interval(0, 60) == pytest.approx((0, 1 - 0.025 ** (1 / 60)))
    assert tables.interval(60, 60) == pytest.approx((0.025 ** (1 / 60), 1))
    assert tables.interval(8, 10) == pytest.approx((0.4439, 0.9748), abs=1e-4)


def row(pair: Pair, ill: bool, solved: bool, findings: list[str]) -> dict:
    found = [{"name": name, "severity": "warning"} for name in findings]
    found.append({"name": "short-reach-harmless", "severity": "info"})
    common = {"command": shlex.join(pair.command(ill)), "ill": ill, "solved": solved, "score": "0.5", "output": "x"}
    return common | {"findings": found, "published": {"AutoTrainer": ["DR"]}}


def test_tables_count_pairs_whose_outcomes_bear_out_their_labels():
    good, solved = (
        Pair("dead-units", "rings", "", "--a", "--b", "open", 1),
        Pair("dead-units", "rings", "", "--c", "--d", "open", 2),
    )
    rows = [
        row(good, True, False, ["dead-units"]),
        row(good, False, True, []),
        row(solved, True, True, []),
        row(solved, False, True, []),
    ]
    ledger = {each["command"]: each for each in rows}
    found, remarks = tables.visits([good, solved], ledger, ledger)
    assert [visit.pair.number for visit in found] == [1, 1]
    assert found[0].named == {"longreach", "AutoTrainer"}
    assert [visit.said["longreach"] for visit in found] == [["dead-units"], []]
    assert len(remarks) == 1
    text = tables.report([good, solved], ledger, ledger)
    assert "| longreach | 1 of 1 = 100% (3% to 100%) | 1 of 1 = 100% (3% to 100%) | 0 of 1 = 0% (0% to 98%) |" in text


def test_a_case_runs_with_and_without_longreach_and_only_once(tmp_path, capsys):
    pair = Pair("dead-units", "rings", "--epochs 3 --width 8", "--bias -12", "--bias 0", "open", 1)
    ledgers = {kind: Ledger(tmp_path / f"{kind}.jsonl") for kind in ("plain", "watched")}
    run([pair], ledgers, {"plain": outpatient.plain, "watched": outpatient.watched}, jobs=2)
    plain, watched = (ledgers[kind].rows[shlex.join(pair.command(True))] for kind in ledgers)
    assert plain["output"] == watched["output"]
    assert not plain["solved"]
    assert "DeadRelu" in plain["published"]["SageMaker Debugger"]
    assert watched["trouble"] == []
    assert len(capsys.readouterr().out.splitlines()) == 4
    again = {kind: Ledger(tmp_path / f"{kind}.jsonl") for kind in ledgers}
    assert {kind: ledger.rows for kind, ledger in again.items()} == {kind: ledgers[kind].rows for kind in ledgers}
    run([pair], again, {"plain": outpatient.plain, "watched": outpatient.watched}, jobs=2)
    assert capsys.readouterr().out == ""
