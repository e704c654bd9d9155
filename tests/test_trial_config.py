"""What a trial may be, what it trains, and what its identity follows."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from trainables import trial_config
from trainables.hand import load_hand
from trainables.latentact import LatentActConfig
from trainables.trial_config import (
    ABLATIONS,
    METHODS,
    ConfigError,
    TrialConfig,
    stage_identities,
    trial_identity,
)

# Another value for every field of a trial: a field that is added must be added here.
OTHER: dict[str, Any] = {
    "setting": "actions", "method": "diffusion-codebook", "without": "text", "mode": "interpolate",
    "protocol": "goal", "hand_free": True, "image_encoder": "deit", "text_encoder": "minilm",
    "contact_encoder": "points", "condition_width": 32, "window": 20, "stride": 2,
    "codes": 128, "quantizers": 3, "width": 32, "shared_codebook": True, "commitment_weight": 0.1,
    "ema_decay": 0.9, "dead_below_per_row": 0.0, "temperature": 0.1, "quantizer_dropout": 0.0, "told": "frame",
    "encoder_depth": 2, "codebook_depth": 2, "codebook_heads": 2, "codebook_norm": False,
    "codebook_dropout": 0.2, "codebook_joint_weight": 1.0, "codebook_forecasts": 0.25,
    "decoder_depth": 2, "heads": 2, "norm": False, "dropout": 0.2, "contact_weight": 0.2, "joint_weight": 1.0,
    "vertex_weight": 1.0, "true_codes": 0.25, "indexer_dropout": 0.1, "decoder_from_codebook": False,
    "code_weight": 0.0, "sampling_steps": 5, "samples": 1, "batch": 64, "learning_rate": 1e-3,
    "schedule": "cosine", "warmup_steps": 5, "weight_decay": 0.0, "clip_norm": 0.5, "weight_average": 0.9,
    "precision": "bfloat16", "start_from": "a" * 16, "codebook_epochs": 5, "indexer_epochs": 5,
    "epochs": 7, "seed": 1,
}  # fmt: skip
MODEL = {"data": "d", "data_digest": "x", "hand": "standin-1", "encoders": {"minilm": "0" * 16}}


@pytest.fixture(autouse=True)
def frozen_encoders_without_weights(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    digests = {"deit": "1" * 16, "minilm": "2" * 16, "clip": "3" * 16}
    monkeypatch.setattr(trial_config, "weights_here", digests.__getitem__)
    return digests


def trial(**changes: Any) -> TrialConfig:
    return TrialConfig(**{"setting": "objects", **changes})


def identities(config: TrialConfig, **changes: Any) -> dict[str, str]:
    """Of the trial and of every stage that it can share."""
    where = {"data_digest": "d", "workers": "1", "device": "cpu"} | changes
    return {"trial": trial_identity(config, **where), **stage_identities(config, **where)}


@pytest.mark.parametrize(
    "name",
    [
        "method",
        "without",
        "mode",
        "protocol",
        "image_encoder",
        "text_encoder",
        "contact_encoder",
        "told",
        "schedule",
        "precision",
    ],
)
def test_an_unknown_value_is_refused_by_the_name_of_its_field(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 'nonsense'; it is one of .*'"):
        trial(**{name: "nonsense"})


@pytest.mark.parametrize("method", ["transformer", "diffusion"])
@pytest.mark.parametrize("without", ["residual", "indexer"])
def test_what_a_method_does_not_have_cannot_be_taken_away(method: str, without: str) -> None:
    with pytest.raises(ConfigError, match=f"without='{without}': method '{method}' has no codebook"):
        trial(method=method, without=without)


def test_a_width_that_its_heads_do_not_divide_is_refused() -> None:
    for heads in ({"heads": 3}, {"codebook_heads": 3}):
        with pytest.raises(ConfigError, match="width 64 is not divisible"):
            trial(**heads)


def test_stages_of_each_method_and_ablation() -> None:
    all_three, predictor = ("codebook", "indexer", "predictor"), ("predictor",)
    expected = {"latentact": all_three, "transformer": predictor, "diffusion": predictor,
                "diffusion-codebook": all_three}  # fmt: skip
    assert set(expected) == set(METHODS)
    for method, stages in expected.items():
        for without in ("", *ABLATIONS):
            if without in ("residual", "indexer") and stages == predictor:
                continue
            wanted = ("codebook", "predictor") if without == "indexer" else stages
            assert trial(method=method, without=without).stages == wanted, (method, without)


def test_an_ablation_takes_away_what_it_is_named_after() -> None:
    plain = trial(quantizers=3).model(**MODEL)
    residual = trial(quantizers=3, without="residual").model(**MODEL)
    oracle = trial(quantizers=3, without="indexer").model(**MODEL)
    assert plain.codebook and plain.indexer and residual.codebook and residual.indexer and oracle.codebook
    assert plain.codebook.quantizer.quantizers == plain.indexer.quantizers == 3
    assert residual.codebook.quantizer.quantizers == residual.indexer.quantizers == 1
    assert oracle.indexer is None and oracle.oracle_codes and oracle.predictor.true_codes == 1.0
    assert not plain.oracle_codes and plain.predictor.true_codes == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_a_model_has_the_parts_of_its_method(method: str) -> None:
    model = trial(method=method, mode="interpolate", width=32, sampling_steps=7).model(**MODEL)
    has_codebook = "codebook" in METHODS[method]
    assert (model.codebook is not None) == (model.indexer is not None) == has_codebook
    assert model.predictor.decoder.latent == (32 if has_codebook else None)
    assert (model.diffusion is not None) == method.startswith("diffusion")
    assert model.diffusion is None or model.diffusion.sampling_steps == 7
    assert model.predictor.conditions.given == 2 and model.mode == "interpolate"


def test_identity_changes_with_every_field_but_the_budget() -> None:
    assert set(OTHER) == {field.name for field in fields(TrialConfig)}
    base = trial()
    for name, value in OTHER.items():
        assert getattr(base, name) != value, name
        changed = TrialConfig.from_json({**base.to_json(), name: value})
        same = identities(changed)["trial"] == identities(base)["trial"]
        assert same == (name == "epochs"), name


def test_under_the_cosine_schedule_the_budget_is_part_of_the_identity() -> None:
    short, long = (identities(trial(schedule="cosine", epochs=epochs)) for epochs in (6, 7))
    # The schedules of the stages before the predictor have lengths of their own.
    assert {name for name in short if short[name] != long[name]} == {"trial"}


def test_a_trial_stands_on_the_stages_that_it_trains_before_the_predictor() -> None:
    for method in METHODS:
        expected = {"trial", "codebook", "indexer"} if "codebook" in METHODS[method] else {"trial"}
        assert identities(trial(method=method)).keys() == expected, method
    assert identities(trial(without="indexer")).keys() == {"trial", "codebook"}
    assert len(set(identities(trial()).values())) == 3
    assert all(len(identity) == 16 for identity in identities(trial()).values())


# What reaches a stage past its config and optimisation: data, draws, weights to begin with, and its stage's loss.
REACHES = {
    "setting",
    "without",
    "protocol",
    "hand_free",
    "stride",
    "codebook_forecasts",
    "start_from",
    "seed",
}


def test_the_stages_identities_ignore_exactly_what_they_do_not_see() -> None:
    base = trial()

    def seen(config: TrialConfig, stage: str) -> tuple[Any, ...]:
        model = config.model(**MODEL)
        codebook = model.codebook, config.optimisation(config.codebook_epochs, average=0.0)
        # The indexer learns the codebook's codes.
        indexer = model.indexer, config.optimisation(config.indexer_epochs)
        return codebook if stage == "codebook" else codebook + indexer

    ignored: dict[str, set[str]] = {"codebook": set(), "indexer": set()}
    for name, value in OTHER.items():
        changed = TrialConfig.from_json({**base.to_json(), name: value})
        for stage, names in ignored.items():
            unseen = seen(base, stage) == seen(changed, stage) and name not in REACHES
            assert unseen == (identities(changed)[stage] == identities(base)[stage]), (stage, name)
            if unseen:
                names.add(name)
    assert ignored["codebook"] == set(trial_config._NOT_OF_CODEBOOK)
    assert ignored["indexer"] == ignored["codebook"] - set(trial_config._OF_INDEXER)


def test_taking_away_the_indexer_keeps_the_codebook_and_other_ablations_do_not() -> None:
    kept = {w: identities(trial(without=w))["codebook"] == identities(trial())["codebook"] for w in ABLATIONS}
    assert kept == {"text": False, "image": False, "contact": False, "residual": False, "indexer": True}


def test_identity_changes_with_what_is_around_the_config(
    monkeypatch: pytest.MonkeyPatch, frozen_encoders_without_weights: dict[str, str]
) -> None:
    config = trial(text_encoder="minilm")
    base = identities(config)

    def all_differ(other: dict[str, str]) -> bool:
        return other.keys() == base.keys() and all(other[name] != base[name] for name in base)

    for changes in ({"data_digest": "e"}, {"workers": "2"}, {"workers": "1:2"}, {"device": "cuda"}):
        assert all_differ(identities(config, **changes)), changes
    frozen_encoders_without_weights["clip"] = "4" * 16  # not its encoder
    assert identities(config) == base
    frozen_encoders_without_weights["minilm"] = "4" * 16
    assert all_differ(identities(config))
    plain = identities(trial())
    monkeypatch.setattr(trial_config, "code_digest", lambda: "other code")
    assert all(identities(trial())[name] != plain[name] for name in plain)


def test_a_trial_is_read_back_as_it_was_written() -> None:
    changed = trial(**OTHER)
    assert TrialConfig.from_json(json.loads(json.dumps(changed.to_json()))) == changed
    assert TrialConfig.from_json({"setting": "objects"}) == trial()
    with pytest.raises(ConfigError, match=r"unknown fields \['depht'\]: written by another version"):
        TrialConfig.from_json({"setting": "objects", "depht": 2})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("without", ["", "indexer"])
def test_a_models_config_is_read_back_as_it_was_written(method: str, without: str) -> None:
    if without and "indexer" not in METHODS[method]:
        without = "text"
    model = trial(**{**OTHER, "method": method, "without": without}).model(**MODEL)
    again = LatentActConfig.from_json(json.loads(json.dumps(model.to_json())))
    assert again == model and again.encoders == MODEL["encoders"]
    for part in ("codebook", "indexer", "predictor", "diffusion"):
        assert type(getattr(again, part)) is type(getattr(model, part))
    record = model.to_json()
    with pytest.raises(TypeError):
        LatentActConfig.from_json({**record, "later": 1})
    with pytest.raises((TypeError, KeyError)):
        LatentActConfig.from_json({name: value for name, value in record.items() if name != "predictor"})


def test_the_hand_of_these_tests_is_the_one_that_is_loaded() -> None:
    assert load_hand().name == MODEL["hand"]
