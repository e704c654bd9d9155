"""The three stages: what each trains, its loss, and the validation figure it keeps its best weights by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.code_table import CodeTables, latent_table
from trainables.code_use import code_use
from trainables.codebook import Codebook
from trainables.collective import global_sum
from trainables.diffusion import Diffusion
from trainables.evaluate import batches, evaluate
from trainables.indexer import Indexer
from trainables.latentact import LatentAct
from trainables.losses import code_loss, contact_loss, joint_loss, reconstruction_loss, vertex_loss
from trainables.metrics import CM_PER_M, mpjpe
from trainables.motion import joints_first, to_first
from trainables.noise import SampleNoise
from trainables.optimisation import StageRun
from trainables.predictor import Predictor
from trainables.splits import setting_group
from trainables.trial_config import TrialConfig
from trainables.windows import Batch, Windows

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
    model.motion.fit(to_first(batch, model.hand), batch)
    points_N3 = batch.point_BS3[batch.point_known_BS]
    if len(points_N3):
        for part in (model.codebook, model.indexer, model.predictor):
            if part is not None:
                part.conditions.contact.fit(points_N3)


def some_frames(noise: SampleNoise) -> slice:
    """Neighbouring frames say almost the same: every third, from another start each step, costs a third."""
    return slice(noise.batch_integer(0, 3), None, 3)


def codebook_stage(
    model: LatentAct, train: Windows, val: Windows, config: TrialConfig, codes: CodeTables
) -> StageRun:
    assert model.codebook is not None
    hand, weights = model.hand, model.codebook.config
    if weights.told == "frame":
        train, val = train.with_every_frame_given(), val.with_every_frame_given()

    def reconstruct(
        codebook: Codebook, batch: Batch, noise: SampleNoise | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss without hand model, motion vectors, code indices); without noise as evaluation does it."""
        target_BTC = model.target(batch)
        quantized = codebook.encode(target_BTC, batch, noise)
        latent_BTD = quantized.latent_BTD
        if noise is not None and config.codebook_forecasts:
            shown_B1 = noise.uniform((1,), latent_BTD) >= config.codebook_forecasts
            latent_BTD = latent_BTD * shown_B1[..., None]
        motion_BTC, logits_BTV = codebook.decode(latent_BTD, batch, noise)
        value = reconstruction_loss(motion_BTC, target_BTC, batch)
        value = value + weights.contact_weight * contact_loss(logits_BTV, batch)
        return value + weights.commitment_weight * quantized.commitment, motion_BTC, quantized.index_BTQ

    def loss(codebook: Codebook, batch: Batch, noise: SampleNoise) -> Tensor:
        value, motion_BTC, _ = reconstruct(codebook, batch, noise)
        if weights.joint_weight:
            frames, pose = some_frames(noise), model.pose(motion_BTC, batch)
            value = value + weights.joint_weight * joint_loss(pose, batch, hand, frames)
        return value

    def score(codebook: Codebook) -> tuple[float, dict[str, float]]:
        total, errors, indices = torch.zeros(()), [], []
        for batch in batches(val, EVALUATION_BATCH):
            value, motion_BTC, index_BTQ = reconstruct(codebook, batch, None)
            total += value.cpu() * len(batch)
            joints_BTJ3 = joints_first(hand, model.pose(motion_BTC, batch))
            errors.append(mpjpe(joints_BTJ3, batch.joints_ref_BTJ3, batch.camera_known_BT))
            indices.append(index_BTQ)
        use = code_use(indices, weights.quantizer.codes)
        figure = float(global_sum(total)) / len(val)  # every rank's loss is its share of the mean
        return figure, {
            "val_loss": figure,
            "reconstruction_mpjpe_cm": CM_PER_M * float(torch.cat(errors).nanmean()),
            "codebook_perplexity": float(use.perplexity_Q.mean()),
            "live_codes": float(use.live_Q.min()),
        }

    # Codes follow the encoder with their own EMA; averaged encoder weights would not belong to them.
    optimisation = config.optimisation(config.codebook_epochs, average=0.0)
    return StageRun("codebook", model.codebook, train, optimisation, config.seed, loss=loss, score=score)


def indexer_stage(
    model: LatentAct, train: Windows, val: Windows, config: TrialConfig, codes: CodeTables
) -> StageRun:
    assert model.indexer is not None

    def loss(indexer: Indexer, batch: Batch, noise: SampleNoise) -> Tensor:
        return code_loss(indexer(batch, noise), codes(train, batch))

    def score(indexer: Indexer) -> tuple[float, dict[str, float]]:
        total, correct = torch.zeros(()), 0.0
        for batch in batches(val, EVALUATION_BATCH):
            logits_BTQK, index_BTQ = indexer(batch), codes(val, batch)
            total += code_loss(logits_BTQK, index_BTQ).cpu() * len(batch)
            correct += float((logits_BTQK.argmax(-1) == index_BTQ).double().mean()) * len(batch)
        figure = float(global_sum(total)) / len(val)
        return figure, {"val_loss": figure, "code_accuracy": correct / len(val)}

    optimisation = config.optimisation(config.indexer_epochs)
    return StageRun("indexer", model.indexer, train, optimisation, config.seed + 1, loss=loss, score=score)


class Joint(nn.Module):
    """The predictor and, where it goes on learning beside it, the indexer: what the predictor's stage trains."""

    def __init__(self, predictor: Predictor | Diffusion, indexer: Indexer | None) -> None:
        super().__init__()
        self.predictor, self.indexer = predictor, indexer


def start_from_codebook(model: LatentAct) -> None:
    """Let the predictor's decoder begin as the codebook's, as far as their shapes agree."""
    codebook, predictor = model.codebook, model.predictor
    assert codebook is not None
    with torch.no_grad():
        for theirs, ours in (
            (codebook.decoder, predictor.decoder),
            (codebook.conditions, predictor.conditions),
        ):
            known = theirs.state_dict()
            for name, value in ours.state_dict().items():
                if name in known and known[name].shape == value.shape:
                    value.copy_(known[name])
        if (from_latent := predictor.decoder.from_latent) is not None:
            from_latent.weight.mul_(model.latent_scale())


def predictor_stage(
    model: LatentAct, train: Windows, val: Windows, config: TrialConfig, codes: CodeTables
) -> StageRun:
    hand = model.hand
    joint = model.indexer is not None and config.code_weight > 0
    train_NTD = latent_table(model, train) if model.codebook is not None and not joint else None

    def latent(trained: Joint, batch: Batch, noise: SampleNoise) -> tuple[Tensor | None, Tensor | float]:
        """Latents of true codes in a share of the windows, of the indexer's in the others (None without a codebook),
        and the loss of the indexer's codes."""
        if model.codebook is None:
            return None, 0.0
        index_BTQ = codes(train, batch)
        true_BTD = model.true_latent(index_BTQ)
        if model.indexer is None or trained.predictor.config.true_codes == 1.0:
            return true_BTD, 0.0
        value: Tensor | float = 0.0
        expected: Tensor | None
        if trained.indexer is not None:
            logits_BTQK = trained.indexer(batch, noise)
            expected = model.expected_latent(logits_BTQK)
            value = config.code_weight * code_loss(logits_BTQK, index_BTQ)
        elif train_NTD is not None:
            expected = train_NTD[batch.row_B]
        else:
            with torch.no_grad():
                expected = model.indexer_latent(batch)
        assert expected is not None
        if trained.predictor.config.true_codes == 0.0:
            return expected, value
        teach_B1 = noise.uniform((1,), true_BTD) < trained.predictor.config.true_codes
        return true_BTD.where(teach_B1[..., None], expected), value

    def loss(trained: Joint, batch: Batch, noise: SampleNoise) -> Tensor:
        predictor = trained.predictor
        weights = predictor.config
        true = to_first(batch, hand)
        target_BTC = model.motion.encode(true, model.motion.anchor(batch))
        latent_BTD, value = latent(trained, batch, noise)
        if isinstance(predictor, Diffusion):
            noisy_BTX, step_B = predictor.noised(target_BTC, batch.contact_BTV, noise)
            told_B1C = predictor.conditions(batch)[:, None]
            motion_BTC, logits_BTV = predictor(noisy_BTX, step_B, latent_BTD, told_B1C, noise)
        else:
            motion_BTC, logits_BTV = predictor(latent_BTD, batch, noise)
        value = value + reconstruction_loss(motion_BTC, target_BTC, batch)
        value = value + weights.contact_weight * contact_loss(logits_BTV, batch)
        pose, frames = model.pose(motion_BTC, batch), some_frames(noise)
        if weights.joint_weight:
            value = value + weights.joint_weight * joint_loss(pose, batch, hand, frames)
        if weights.vertex_weight:
            value = value + weights.vertex_weight * vertex_loss(pose, true, batch, hand, frames)
        return value

    def score(averaged: Joint) -> tuple[float, dict[str, float]]:
        predictor, indexer = model.predictor, model.indexer
        model.predictor = averaged.predictor
        model.indexer = averaged.indexer or indexer
        try:
            evaluation = evaluate(
                model.forecast, val, setting_group(val.clips, config.setting), batch=EVALUATION_BATCH,
                contact_threshold=None,
            )  # fmt: skip
        finally:
            model.predictor, model.indexer = predictor, indexer
        means = evaluation.means()
        metrics = {name: means[name] for name in VALIDATION_METRICS}
        return means["mpjpe_cm"], {**metrics, "contact_threshold": evaluation.contact_threshold}

    if config.decoder_from_codebook and model.codebook is not None and not config.start_from:
        start_from_codebook(model)
    module = Joint(model.predictor, model.indexer if joint else None)
    optimisation = config.optimisation(config.epochs)
    return StageRun("predictor", module, train, optimisation, config.seed + 2, loss=loss, score=score)
