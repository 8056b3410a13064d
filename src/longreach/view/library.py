"""All that a server shows: the runs of a folder, and what each of its pages says at the moment."""

import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from pathlib import Path

from longreach.errors import RunFolderError
from longreach.story import Story, read
from longreach.view.card import Card, card_of
from longreach.view.found import Found, Shelf, find, state_of

LISTED = 2.0  # seconds that a list of the runs counts
STORIES = 4  # kept in memory, some MB each
FIRST = 0.3  # seconds that a list may take to read cards before it shows those that it has


class Library:
    """The runs of a folder; every run is read once when its files have changed, whoever looks at it.

    Thread-safe; opens nothing for writing
    """

    def __init__(self, root: Path):
        self.root = root.resolve()
        self._mutex = threading.RLock()
        self._shelf = Shelf()
        self._listed = -LISTED
        self._began: dict[str, float] = {}  # as first seen: a run that saves something keeps its place in the list
        self._cards: dict[str, tuple[Hashable, Card]] = {}
        self._read_at: dict[str, float] = {}
        self._stories: OrderedDict[str, tuple[Hashable, Story]] = OrderedDict()

    def shelf(self) -> Shelf:
        """The runs under the folder, the newest first; at most two seconds old."""
        with self._mutex:
            if time.monotonic() - self._listed > LISTED:
                found = find(self.root)
                for run in found.runs:
                    self._began.setdefault(run.id, run.began)
                runs = sorted(found.runs, key=lambda run: (-self._began[run.id], run.name))
                self._shelf, self._listed = Shelf(tuple(runs), found.whole), time.monotonic()
            return self._shelf

    def get(self, id: str) -> Found | None:
        """The run of this id, be it one of a trial; None where there is none."""
        return self.shelf().get(id)

    def state(self, run: Found) -> Hashable:
        """What changes when there is something new to read in a run."""
        try:
            return state_of(run, self.root)
        except RunFolderError as error:
            return str(error)

    def story(self, run: Found) -> Story:
        """What a run tells now."""
        state = self.state(run)
        with self._mutex:
            kept = self._stories.get(run.id)
            if kept and kept[0] == state:
                return kept[1]
        # a sentence instead of a state: a link out of the folder
        story = Story(run.name, missing=(state,)) if isinstance(state, str) else read(run.path)
        with self._mutex:
            self._stories[run.id] = (state, story)
            self._stories.move_to_end(run.id)
            while len(self._stories) > STORIES:
                self._stories.popitem(last=False)
        return story

    def due(self, runs: Iterable[Found]) -> list[Found]:
        """Those whose card is not what their files say, the one that was read longest ago first."""
        due = [run for run in runs if run.kind != "bench" and self._known(run)[0] != self.state(run)]
        return sorted(due, key=lambda run: self._read_at.get(run.id, 0.0))

    def cards(self, runs: Iterable[Found]) -> dict[str, Card]:
        """The cards of runs by their id; one that there was no time for is left out, or old: the next call reads on."""
        runs, until = list(runs), time.monotonic() + FIRST
        for run in self.due(runs):
            if time.monotonic() > until:
                break
            self._cards[run.id] = (self.state(run), self._card(run))
            self._read_at[run.id] = time.monotonic()
        return self.known(runs)

    def known(self, runs: Iterable[Found]) -> dict[str, Card]:
        """The cards that have been read, by the id of their runs."""
        return {run.id: card for run in runs if (card := self._known(run)[1])}

    def _known(self, run: Found) -> tuple[Hashable, Card | None]:
        return self._cards.get(run.id, (None, None))

    def _card(self, run: Found) -> Card:
        try:
            return card_of(self.story(run), run)
        except Exception:  # a fault of ours with one run shall not hide the others
            traceback.print_exc(file=sys.stderr)
            return Card("", "", "cannot be shown", "open", missing=("longreach has failed here: see its terminal",))
