"""Make a data set, in a local folder or on s3://.

python -m trainables.prepare world data/world
python -m trainables.prepare dexycb ~/downloads/dexycb s3://bucket/dexycb
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from trainables.clips import ClipsError, manifest_digest, read_manifest
from trainables.splits import PARTS

EXAMPLES = """
\b
Examples:
  python -m trainables.prepare world data/world
  python -m trainables.prepare world s3://bucket/world --clips 2000 --seed 7
  python -m trainables.prepare dexycb ~/downloads/dexycb data/dexycb

DEST is a folder or s3://bucket/prefix (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say
which store and who asks). It appears only when it is whole. A data set made from the same source that is
there already is left alone; anything else that is there is never overwritten.
"""


@click.group(
    epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def main() -> None:
    """Make a data set of clips to train on."""
    logging.basicConfig(
        level=logging.INFO, format="%(message)s"
    )  # the writer says which shard it has written


@main.command()
@click.argument("dest")
@click.option("--clips", default=600, show_default=True, type=click.IntRange(min=1), help="Number of clips.")
@click.option("--seed", default=0, show_default=True, type=int, help="Equal seeds give equal data sets.")
@click.option("--hand-free", is_flag=True, help="Render every picture a second time, without the hand.")
def world(dest: str, clips: int, seed: int, hand_free: bool) -> None:
    """The procedural world: a parametric hand that acts on objects, with truth for every frame."""
    from trainables.mano_file import HandFileError
    from trainables.world import make_world

    with _told((HandFileError,)):
        make_world(dest, clips=clips, seed=seed, hand_free=hand_free)
        _summarise(dest)


@main.command()
@click.argument("source")
@click.argument("dest")
def dexycb(source: str, dest: str) -> None:
    """Real hand motion from DexYCB (CC BY-NC 4.0), either as its authors publish it or re-packed.

    MANO is used where MANO_PATH says that it lies, else the stand-in hand.
    """
    from trainables.dexycb import DexYCBError, import_dexycb
    from trainables.mano_file import HandFileError

    with _told((DexYCBError, HandFileError)):
        import_dexycb(source, dest)
        _summarise(dest)


@contextmanager
def _told(expected: tuple[type[Exception], ...]) -> Iterator[None]:
    """Errors about the user's files become one sentence and exit status 1; any other keeps its traceback."""
    expected = (ClipsError, OSError, *expected)
    try:
        yield
    except expected as error:
        raise click.ClickException(str(error)) from error


def _summarise(dest: str) -> None:
    for line in summary(dest, read_manifest(dest)):
        click.echo(line)


def summary(dest: str, manifest: dict[str, Any]) -> list[str]:
    """What a data set holds, in a few lines for people."""
    counts = manifest["counts"]
    images = f"{counts['images']} images"
    if counts.get("hand_free_images"):
        images += f" and {counts['hand_free_images']} without the hand"
    lines = [
        (
            f"{manifest['name']} at {dest}: {counts['clips']} clips, {counts['frames']} frames, "
            f"{images}; hand {manifest['hand']}; digest {manifest_digest(manifest)[:12]}"
        )
    ]
    for name, setting in sorted(manifest["settings"].items()):
        parts = [(part, setting["statistics"]["counts"][part]) for part in PARTS]
        held = ", ".join(f"{part} {n['clips']} ({n['groups']})" for part, n in parts)
        lines.append(f"  {name:9} clips (groups by {setting['group']}): {held}")
    return lines


if __name__ == "__main__":
    main()
