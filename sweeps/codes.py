"""What does each code of a codebook stand for? One HTML page: use, poses, motion, contact, nearest training windows.

python -m sweeps.codes latentact-world-objects@champion --data s3://bucket/world --out codes.html
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from sweeps.command import fail_clearly
from sweeps.errors import SweepError
from zoo import settings as zoo_settings

EXAMPLES = """\
\b
Examples:
  python -m sweeps.codes latentact-world-objects@champion --data data/world --out codes.html
  python -m sweeps.codes ./checkpoint --data data/dexycb --out codes.html --windows 20000

The page opens without a network. It shows poses and names of clips of the data set: pass it on only as the licence of
the data set allows.
"""


@click.command(
    epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.argument("model")
@click.option("--data", required=True, help="The clips that trained it: a folder or s3:// address.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The HTML file to write."
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=6000,
    show_default=True,
    help="Training windows to look at, evenly spread.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
@fail_clearly
def main(model: str, data: str, out: Path, windows: int, device: str | None) -> int:
    """Write a page about the codebook of MODEL, NAME[@version|@alias] of the zoo or a local folder."""
    if not out.absolute().parent.is_dir():
        raise SweepError(f"--out {out}: there is no folder {out.absolute().parent}; make it first.")
    os.environ.update(zoo_settings.environment())

    import torch

    from sweeps.code_page import code_page
    from sweeps.opened_model import open_model
    from trainables.clips import read_clips
    from trainables.whole_file import written_whole

    if device == "cuda" and not torch.cuda.is_available():
        raise SweepError("--device cuda: this machine has none that torch can use; leave --device out.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    opened = open_model(model, device=device, forecasts=False)
    if opened.model.codebook is None:
        raise SweepError(f"{opened.reference} has no codebook: it is a model without codes; name another.")
    clips = read_clips(data).to(device)
    page = code_page(opened, clips, most_windows=windows, say=lambda line: click.echo(line, err=True))
    with written_whole(out) as place:
        place.write_text(page, encoding="utf-8")
        place.chmod(0o644)
    click.echo(f"codes     {out} ({out.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    main()
