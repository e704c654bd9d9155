"""How much of each codebook is in use, as its own training reported it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweeps.ledger import TrialRecord
from sweeps.report_chart import Card, Frame, Ruler, few, line, mark
from sweeps.report_curves import series
from sweeps.report_view import SweepView
from sweeps.report_words import counted, mean
from sweeps.selection import words

# Rows of the table; lines of a chart.
MOST_ROWS, _MOST_SIZES, _MOST_LINES = 60, 12, 200
# Figures of the codebook's stage: name in its reports -> heading of its chart.
_CHARTS = {
    "codebook_perplexity": ("Perplexity", "codes"),
    "live_codes": ("Live codes", "share"),
    "reconstruction_mpjpe_cm": ("Reconstruction", "MPJPE, cm"),
}


@dataclass(frozen=True)
class Codebook:
    """One codebook that a trial of the sweep trained or stood on; figures are those of the epoch whose weights were
    kept, NaN where its training is not in this sweep's records."""

    identity: str
    trainer: TrialRecord | None
    users: tuple[TrialRecord, ...]
    kept_epoch: int
    epochs: int
    perplexity: float
    live: float
    reconstruction_cm: float

    @property
    def codes(self) -> int | None:
        codes = self.users[0].params.get("codes")
        return int(codes) if codes is not None else None

    @property
    def trained_by(self) -> str:
        if self.trainer is None:
            return "not in this sweep"
        return f"{self.trainer.setting}: {words(self.trainer.params)}"


def codebooks(view: SweepView) -> list[Codebook]:
    """Every codebook that the sweep's trials stand on, in order of their size."""
    users: dict[str, list[TrialRecord]] = {}
    for trial in view.trials:
        if trial.codebook:
            users.setdefault(trial.codebook, []).append(trial)
    found = [_codebook(identity, trials) for identity, trials in users.items()]
    return sorted(found, key=lambda book: (book.codes or 0, book.identity))


def _codebook(identity: str, users: list[TrialRecord]) -> Codebook:
    trainers = [t for t in users if any(entry.get("stage") == "codebook" for entry in t.history)]
    trainer = max(trainers, key=lambda t: len(series(t, "codebook", "loss")), default=None)
    kept, epochs, figures = 0, 0, {name: math.nan for name in _CHARTS}
    if trainer is not None:
        losses = series(trainer, "codebook", "val_loss") or series(trainer, "codebook", "loss")
        if losses:
            kept, epochs = min(losses, key=lambda pair: pair[1])[0], losses[-1][0]
        for name in _CHARTS:
            figures[name] = dict(series(trainer, "codebook", name)).get(kept, math.nan)
    return Codebook(
        identity=identity,
        trainer=trainer,
        users=tuple(users),
        kept_epoch=kept,
        epochs=epochs,
        perplexity=figures["codebook_perplexity"],
        live=figures["live_codes"],
        reconstruction_cm=figures["reconstruction_mpjpe_cm"],
    )


def by_size(books: list[Codebook]) -> list[tuple[str, int, float, float, float]]:
    """Rows for each codebook size or, where there are many, from one power of two to the next.

    A row has the size, how many there are, and their mean perplexity, live share and reconstruction (cm).
    """
    sizes = {book.codes or 0 for book in books}

    def label(codes: int) -> str:
        if not codes:
            return "unknown"
        power = 1 << (codes.bit_length() - 1)
        return str(codes) if len(sizes) <= _MOST_SIZES else f"{power} to {2 * power - 1}"

    rows = []
    for name in dict.fromkeys(map(label, sorted(sizes))):
        of_size = [book for book in books if label(book.codes or 0) == name]
        perplexity, live = mean([b.perplexity for b in of_size]), mean([b.live for b in of_size])
        reconstruction_cm = mean([b.reconstruction_cm for b in of_size])
        rows.append((name, len(of_size), perplexity, live, reconstruction_cm))
    return rows


def code_cards(view: SweepView, books: list[Codebook]) -> list[Card]:
    """A chart for each figure of the codebook's stage, a line a codebook."""
    trained = [book for book in books if book.trainer is not None]
    cards = []
    for name, (heading, unit) in _CHARTS.items():
        lines = [(b, found) for b in trained if b.trainer and (found := series(b.trainer, "codebook", name))]
        if not lines:
            continue
        values = [value for _, found in lines for _, value in found]
        frame = Frame(
            x=Ruler.over([1, *(epoch for _, found in lines for epoch, _ in found)]),
            y=Ruler.over([0.0, 1.0] if name == "live_codes" else [0.0, *values]),
            x_unit="epoch of the codebook",
            y_unit=f"{heading.lower()}, {unit}",
            height=190,
            right=42,
        )
        sizes = sorted({book.codes or 0 for book, _ in lines})
        drawn = []
        for book, found in few(lines, _MOST_LINES):
            assert book.trainer is not None
            shade = 0.35 + 0.65 * (sizes.index(book.codes or 0) + 1) / len(sizes)
            path = line([(frame.across(e), frame.up(v)) for e, v in few(found, 32)])
            title = f"codebook {book.identity[:8]} of {book.codes} codes · {book.trainer.setting} · kept epoch {book.kept_epoch}"
            body = f'<path class="curve plainline" stroke-opacity="{shade:.2f}" d="{path}"/>'
            drawn.append(mark(view.number(book.trainer), title, body))
        drawn += _sizes(frame, [(book.codes, found[-1][1]) for book, found in lines])
        spoken = f"{heading} of {len(lines)} codebooks by epoch, from {min(values):.3g} to {max(values):.3g}"
        note = f"{_MOST_LINES} of {counted(len(lines), 'codebook')}" if len(lines) > _MOST_LINES else ""
        cards.append(Card(heading, frame.svg(drawn, spoken), note))
    return cards


def _sizes(frame: Frame, ends: list[tuple[int | None, float]]) -> list[str]:
    """The sizes beside the ends of their lines, where there is room between them."""
    drawn: list[str] = []
    taken: list[float] = []
    for codes in sorted({codes for codes, _ in ends if codes}, reverse=True):
        y = frame.up(mean([value for own, value in ends if own == codes])) + 4
        if all(abs(y - other) >= 11 for other in taken):
            taken.append(y)
            drawn.append(f'<text x="{frame.width - frame.right + 5}" y="{y:.1f}">{codes}</text>')
    return drawn
