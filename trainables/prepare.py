"""Make a data set, in a local folder or on s3://.

python -m trainables.prepare world data/world
python -m trainables.prepare dexycb ~/downloads/dexycb s3://bucket/dexycb
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from trainables.clips import ClipsError, manifest_digest, read_manifest
from trainables.import_run import report_lines
from trainables.splits import PARTS

EXAMPLES = """
\b
Examples:
  python -m trainables.prepare world data/world
  python -m trainables.prepare world s3://bucket/world --clips 2000 --seed 7
  python -m trainables.prepare dexycb ~/downloads/dexycb data/dexycb
  python -m trainables.prepare holoassist ~/holoassist s3://bucket/holoassist --sam2 masks --workers 16
  python -m trainables.prepare latentact-release downloads data/release

DEST is a folder or s3://bucket/prefix (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say
which store and who asks). It appears only when it is whole. A data set made from the same source that is
there already is left alone; anything else that is there is never overwritten. An import that was
interrupted goes on where it was (its finished parts lie in $LATENTACT_CACHE until then). Where RAY_ADDRESS
is set the work is done on that cluster, whose nodes must all see SOURCE.
"""
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


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
    from trainables.world import make_world

    with _told():
        make_world(dest, clips=clips, seed=seed, hand_free=hand_free)
        _summarise(dest)


def _foreign(command: Decorated) -> Decorated:
    """What every importer is given."""
    for add in (
        click.option(
            "--workers", type=click.IntRange(min=1), help="Processes at once; all cores by default."
        ),
        click.argument("dest"),
        click.argument("source", type=click.Path(path_type=Path)),
    ):
        command = add(command)
    return command


def _folder_option(name: str, text: str) -> Callable[[Decorated], Decorated]:
    return click.option(name, type=click.Path(path_type=Path), help=text)


@main.command()
@_foreign
def dexycb(source: Path, dest: str, workers: int | None) -> None:
    """Real hand motion from DexYCB (CC BY-NC 4.0), either as its authors publish it or re-packed.

    MANO is used where MANO_PATH says that it lies, else the stand-in hand.
    """
    from trainables.dexycb import import_dexycb

    with _told():
        import_dexycb(source, dest, workers=workers)
        _summarise(dest)


@main.command()
@_foreign
def arctic(source: Path, dest: str, workers: int | None) -> None:
    """ARCTIC: two hands and articulated objects (needs MANO_PATH; its licence is non-commercial)."""
    from trainables.arctic import import_arctic

    with _told():
        import_arctic(source, dest, workers=workers)
        _summarise(dest)


@main.command()
@_foreign
def ho3d(source: Path, dest: str, workers: int | None) -> None:
    """HO-3D, versions 2 and 3: one hand and one YCB object."""
    from trainables.ho3d import import_ho3d

    with _told():
        import_ho3d(source, dest, workers=workers)
        _summarise(dest)


@main.command()
@_foreign
def fpha(source: Path, dest: str, workers: int | None) -> None:
    """FPHA (F-PHAB): 45 labelled actions seen from the head, joints by magnetic sensors."""
    from trainables.fpha import import_fpha

    with _told():
        import_fpha(source, dest, workers=workers)
        _summarise(dest)


@main.command("latentact-release")
@_foreign
@click.option(
    "--part", type=click.Choice(["holoassist", "arctic"]), default="holoassist", show_default=True,
    help="Which of the release's two data sets.",
)  # fmt: skip
@_folder_option("--settings", "The release's settings.json; SOURCE/settings.json by default.")
@_folder_option("--labels", "HoloAssist's label file, for the frame rate and the task of each recording.")
def latentact_release(
    source: Path, dest: str, workers: int | None, part: str, settings: Path | None, labels: Path | None
) -> None:
    """The annotation files that LatentAct's authors published (CC BY-NC 4.0)."""
    from trainables.latentact_release import import_latentact_release

    with _told():
        import_latentact_release(source, dest, part=part, settings=settings, labels=labels, workers=workers)
        _summarise(dest)


@main.command()
@_foreign
@_folder_option(
    "--labels", "The label file; data-annotation-trainval-v1_1.json beside or in SOURCE by default."
)
@_folder_option("--hamer", "Saved HaMeR results; without them hands come from HoloLens joints.")
@_folder_option("--sam2", "Saved SAM2 object masks; without them contact is unknown.")
@_folder_option("--inpainted", "Frames from which the hand was removed.")
@click.option(
    "--image-px", default=224, show_default=True, type=click.IntRange(16, 512), help="Side of pictures."
)
@click.option(
    "--image-every", default=10, show_default=True, type=click.IntRange(1), help="Frames a picture."
)
def holoassist(source: Path, dest: str, workers: int | None, **options: Any) -> None:
    """HoloAssist's raw recordings through the data engine: actions, hands, masks, contact, pictures."""
    from trainables.holoassist import import_holoassist

    with _told():
        import_holoassist(source, dest, workers=workers, **options)
        _summarise(dest)


@contextmanager
def _told() -> Iterator[None]:
    """Errors about the user's files become one sentence and exit status 1; any other keeps its traceback."""
    from trainables.mano_file import HandFileError

    try:
        yield
    except (ClipsError, HandFileError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _summarise(dest: str) -> None:
    manifest = read_manifest(dest)
    if report := manifest["report"]:
        for line in report_lines(report):
            click.echo(line)
    for line in summary(dest, manifest):
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
