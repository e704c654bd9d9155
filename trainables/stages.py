"""The three stages: what each trains, its loss, and the validation figure it keeps its best weights by."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from trainables.codebook import Codebook
from trainables.collective import global_sum
from trainables.evaluate import best_contact_threshold, evaluate
from trainables.indexer import Indexer
from trainables.latentact import LatentAct
from trainables.losses import code_loss, contact_loss, joint_loss, reconstruction_loss
from trainables.motion import to_first
from trainables.noise import SampleNoise
from trainables.optimisation import StageRun
from trainables.predictor import Predictor
from trainables.quantizer import perplexity
from trainables.splits import setting_group
from trainables.trial_config import TrialConfig
from trainables.windows import Batch, Windows

STAGES = ("codebook", "indexer", "predictor")
EVALUATION_BATCH = 256
VALIDATION_METRICS = (
    "mpjpe_cm",
    "mpjpe_ra_cm",
    "mpjpe_pa_cm",
    "contact_f1",
    "contact_precision",
    "contact_recall",
)


def fit_statistics(model: LatentAct, train: Windows) -> None:
    """Take normalisation, anchor and contact box from the training windows, before the first step."""
    batch = train.gather(torch.arange(0, len(train), max(1, len(train) // 4096)))
    model.codebook.motion.fit(to_first(batch, model.hand), batch)
    points_N3 = batch.point_B3[batch.point_known_B]
    if len(points_N3):
        for part in (model.codebook, model.indexer, model.predictor):
            part.conditions.contact.fit(points_N3)


def _batches(windows: Windows) -> Iterator[Batch]:
    for index in torch.arange(len(windows)).split(EVALUATION_BATCH):
        yield windows.gather(index)


def codebook_stage(model: LatentAct, train: Windows, val: Windows, config: TrialConfig) -> StageRun:
    hand = model.hand

    def loss(codebook: Codebook, batch: Batch, noise: SampleNoise) -> Tensor:
        return codebook.loss(batch, hand, noise)[0]

    def score(codebook: Codebook) -> tuple[float, dict[str, float]]:
        total, indices = torch.zeros(()), []
        for batch in _batches(val):
            value, index_BTQ = codebook.loss(batch, hand, None)
            total += value.detach().cpu() * len(batch)
            indices.append(index_BTQ)
        perplexity_Q, live_Q = perplexity(torch.cat(indices), config.codes)
        figure = float(global_sum(total)) / len(val)  # every rank's loss is its share of the mean
        return figure, {
            "val_loss": figure,
            "codebook_perplexity": float(perplexity_Q[0]),
            "live_codes": float(live_Q.mean()),
        }

    # Codes follow the encoder with their own EMA; averaged encoder weights would not belong to them.
    optimisation = config.optimisation(config.codebook_epochs, average=0.0)
    return StageRun("codebook", model.codebook, train, optimisation, config.seed, loss=loss, score=score)


def indexer_stage(model: LatentAct, train: Windows, val: Windows, config: TrialConfig) -> StageRun:
    codebook, hand = model.codebook, model.hand

    @torch.no_grad()
    def true_index(batch: Batch) -> Tensor:
        return codebook.encode(codebook.target(batch, hand), batch).index_BTQ

    def loss(indexer: Indexer, batch: Batch, noise: SampleNoise) -> Tensor:
        return code_loss(indexer(batch), true_index(batch))

    def score(indexer: Indexer) -> tuple[float, dict[str, float]]:
        total, correct = torch.zeros(()), 0.0
        for batch in _batches(val):
            logits_BTQK, index_BTQ = indexer(batch), true_index(batch)
            total += code_loss(logits_BTQK, index_BTQ).cpu() * len(batch)
            correct += float((logits_BTQK.argmax(-1) == index_BTQ).double().mean()) * len(batch)
        figure = float(global_sum(total)) / len(val)
        return figure, {"val_loss": figure, "code_accuracy": correct / len(val)}

    optimisation = config.optimisation(config.indexer_epochs)
    return StageRun("indexer", model.indexer, train, optimisation, config.seed + 1, loss=loss, score=score)


def predictor_stage(model: LatentAct, train: Windows, val: Windows, config: TrialConfig) -> StageRun:
    codebook, hand = model.codebook, model.hand

    def loss(predictor: Predictor, batch: Batch, noise: SampleNoise) -> Tensor:
        with torch.no_grad():
            target_BTC = codebook.target(batch, hand)
            true_BTD = codebook.quantizer.embed(codebook.encode(target_BTC, batch).index_BTQ)
            # Exp(1) below -log(1 - p) has probability p: which windows see their true codes.
            draw_B1 = noise.exponential((1,), target_BTC)
            teach_B1 = draw_B1 < -torch.log1p(torch.tensor(-min(predictor.config.true_codes, 1 - 1e-6)))
            latent_BTD = true_BTD.where(teach_B1[..., None], model.indexer_latent(batch))
        motion_BTC, logits_BTV = predictor(latent_BTD, batch, noise)
        value = reconstruction_loss(motion_BTC, target_BTC, batch)
        value = value + predictor.config.contact_weight * contact_loss(logits_BTV, batch)
        if predictor.config.joint_weight:
            # Neighbouring frames say almost the same: every third, from another start each step, costs a third.
            frames = slice(noise.batch_integer(0, 3), None, 3)
            distance = joint_loss(model.decode(motion_BTC, batch), batch, hand, frames)
            value = value + predictor.config.joint_weight * distance
        return value

    def score(predictor: Predictor) -> tuple[float, dict[str, float]]:
        trained, model.predictor = model.predictor, predictor
        try:
            threshold, _ = best_contact_threshold(model.forecast, val, batch=EVALUATION_BATCH)
            group = setting_group(val.clips, config.setting)
            evaluation = evaluate(
                model.forecast, val, group, batch=EVALUATION_BATCH, contact_threshold=threshold
            )
        finally:
            model.predictor = trained
        means = evaluation.means()
        metrics = {name: means[name] for name in VALIDATION_METRICS}
        return means["mpjpe_cm"], {**metrics, "contact_threshold": threshold}

    optimisation = config.optimisation(config.epochs)
    return StageRun(
        "predictor", model.predictor, train, optimisation, config.seed + 2, loss=loss, score=score
    )
