"""How large the page of 100,000 recorded steps is, how long it takes to make, and to open in Chromium.

python benchmarks/page.py
"""

import math
import random
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from longreach import story
from longreach.probes.lags import lag_grid
from longreach.probes.samples import Curve, LayerKey
from longreach.quantities.clipping import Clip
from longreach.quantities.gradients import GradientNorm
from longreach.quantities.updates import Update
from longreach.report.page import html
from longreach.store import Store

STEPS, LAYERS, MATRICES, TURNS = 100_000, 4, 12, 7
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
ALL = "[...document.querySelectorAll('.plot')].every((plot) => plot.dataset.drawn)"
FIRST = "document.querySelector('.plot .main-svg') !== null"


def recorded(folder: Path) -> None:
    """A run whose store is full: every table at the most that it keeps."""
    chance = random.Random(0)
    store = Store.create(folder)
    store.put_meta(script="train.py", argv=[], steps=STEPS, seconds=3600.0, spent=40.0)
    store.add_losses([(step, math.exp(chance.gauss(-step / STEPS, 0.3))) for step in range(STEPS)])
    lags = lag_grid(499)
    for step in range(0, STEPS, STEPS // Store.CURVES):
        rate = math.log(0.9 + 0.09 * step / STEPS)
        for number in range(LAYERS):
            gain = tuple(rate * lag for lag in lags)
            store.add_curve(
                LayerKey(f"rnn{number}", "GRU", 0, "forward", 64), Curve(step, lags, gain, None, None, False)
            )
        norm = math.exp(chance.gauss(0, 1))
        store.add(GradientNorm("", step, norm, min(norm, 1.0)))
        store.add(Clip("clip_grad_norm_", step, 1.0, step, step // 2, 0.1 * step))
        for number in range(MATRICES):
            ratio = 1e-3 * math.exp(chance.gauss(0, 0.5))
            store.add(Update(f"w{number}", step, "rnn0", 4096, "float32", "Adam", 1e-3, ratio, 0.1, 0.0))
    store.close()


def opened(browser: Browser, file: Path) -> tuple[float, float, float]:
    """Seconds until the text is there, the first figure, and all of them."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    began = time.perf_counter()
    page.goto(file.as_uri(), wait_until="commit")
    page.wait_for_selector("#verdict")
    text = time.perf_counter() - began
    page.wait_for_function(FIRST)
    first = time.perf_counter() - began
    page.evaluate("plots().forEach((plot) => plot.dataset.drawn || draw(plot))")
    page.wait_for_function(ALL)
    whole = time.perf_counter() - began
    page.close()
    return text, first, whole


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder, file = Path(temporary, "run"), Path(temporary, "report.html")
        recorded(folder)
        began = time.perf_counter()
        told = story.read(folder)
        read = time.perf_counter() - began
        file.write_text(html.render(told), encoding="utf-8")
        made = time.perf_counter() - began
        print(f"{STEPS:,} steps: {file.stat().st_size / 1e6:.2f} MB; read in {read:.2f} s, made in {made:.2f} s")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        turns = [opened(browser, file) for _ in range(TURNS)]
        browser.close()
        for what, seconds in zip(("text", "first figure", "all figures"), zip(*turns, strict=True), strict=True):
            print(f"{what}: {statistics.median(seconds):.2f} s in the middle, {max(seconds):.2f} s at most")


if __name__ == "__main__":
    main()
