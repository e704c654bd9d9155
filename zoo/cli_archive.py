"""Carry models to places without a way to the store: `zoo export`, `zoo import`."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli_output import as_json, complete_reference, print_json


@click.command("export")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_reference)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--all", "all_versions", is_flag=True, help="Every version of the names, not one.")
@as_json
def export(names: tuple[str, ...], file: Path, all_versions: bool, as_json: bool) -> None:
    """Write NAME[@version|@alias] ... with their records and aliases to one archive, FILE.

    \b
    Examples:
      zoo export latentact-world-objects@champion objects.tar
      zoo export latentact-world-objects latentact-world-scenes@3 both.tar
      zoo export --all latentact-world-objects objects.tar
    """
    from zoo.archive import export_archive

    done = export_archive(names, file, all_versions=all_versions)
    if as_json:
        print_json({**vars(done), "path": str(done.path)})
        return
    click.echo(
        f"{done.path}  {done.sha256[:12]}  {done.size / 1e6:,.1f} MB  {' '.join([*done.versions, *done.aliases])}"
    )


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--aliases", is_flag=True, help="Move the archive's aliases here too; the moves are logged.")
@click.option("--renumber", is_flag=True, help="Give versions whose number is taken here the next free one.")
@as_json
def import_(file: Path, aliases: bool, renumber: bool, as_json: bool) -> None:
    """Put the versions in FILE, an archive of `zoo export`, into this zoo.

    Every byte is verified first. Versions keep their numbers; what is here already stays as it is.

    \b
    Examples:
      zoo import objects.tar
      LATENTACT_ZOO=file:///srv/zoo zoo import objects.tar --aliases
    """
    from zoo.archive import import_archive

    done = import_archive(file, aliases=aliases, renumber=renumber)
    if as_json:
        print_json([vars(each) for each in done])
        return
    for each in done:
        said = [
            "imported" if each.new else "was here already",
            each.note,
            *(f"is '{a}'" for a in each.aliases),
        ]
        click.echo(f"{each.name}@{each.version}  {each.digest[:12]}  {', '.join(filter(None, said))}")
        if each.registry_error:
            click.echo(each.registry_error, err=True)
