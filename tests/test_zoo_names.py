"""The naming grammar, and what people are told who miss it."""

import pytest

from zoo.errors import BadName
from zoo.names import check_alias, parse_name, parse_reference, unknown_model


@pytest.mark.parametrize(
    "text",
    [
        "latentact-world-objects",
        "latentact-dexycb-subjects",
        "latentact-codebook-world-scenes",
        "latentact-holoassist_v2.1-tasks-interpolate",
        "latentact-codebooks-actions",
        "ourlab/latentact-world-objects",
    ],
)
def test_parse_and_format_agree(text: str) -> None:
    assert str(parse_name(text)) == text


def test_parts_of_a_name() -> None:
    name = parse_name("latentact-codebook-dexycb-subjects-interpolate")
    assert (name.data, name.setting, name.codebook, name.mode) == ("dexycb", "subjects", True, "interpolate")
    assert parse_name("latentact-codebooks-actions").data == "codebooks"
    assert parse_name("ourlab/latentact-world-tasks").team == "ourlab"


@pytest.mark.parametrize(
    "text",
    [
        "", "latentact", "latentact-world", "latentact-codebook-objects", "latentact-a-b-objects", "Latentact-world-objects",
        "latentact-world-objects-", "latentact-../x-objects", "latentact-world/x-objects", "/latentact-world-objects",
        "a/b/latentact-world-objects", "our--lab/latentact-world-objects", "latentact-world-objects\n",
    ],
)  # fmt: skip
def test_bad_names(text: str) -> None:
    with pytest.raises(BadName, match="for example latentact-world-objects"):
        parse_name(text)


def test_a_misspelled_setting_is_offered_right() -> None:
    with pytest.raises(BadName, match="Did you mean latentact-world-objects?"):
        parse_name("latentact-world-objcts")


def test_references() -> None:
    assert parse_reference("latentact-world-objects").alias == "champion"
    assert parse_reference("latentact-world-objects@12").version == 12
    assert str(parse_reference("latentact-world-objects@best-yet")) == "latentact-world-objects@best-yet"
    for bad in ("@", "@0", "@1.5", "@Champion", "@latest", "@v2", "@a/b", "@a@b"):
        with pytest.raises(BadName, match="latentact-world-objects@"):
            parse_reference("latentact-world-objects" + bad)
    with pytest.raises(BadName, match="champion"):
        check_alias("7")


def test_unknown_models_come_with_near_ones() -> None:
    known = ["latentact-world-objects", "latentact-world-actions"]
    assert "Did you mean latentact-world-objects" in str(unknown_model("latentact-word-objects", known))
    assert "It is empty" in str(unknown_model("latentact-word-objects", []))
