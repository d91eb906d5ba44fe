"""From a config to the parts of a run: data, devices, model, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.config import ADAPTIVE_OPTIMIZERS, Durations, ExperimentConfig
from tf_simclr.data.datasets import build_splits
from tf_simclr.data.folder_splits import ListedSplits
from tf_simclr.data.source import ImageSource
from tf_simclr.nn.model import SimCLRModel, build_model
from tf_simclr.optim.build import build_optimizer
from tf_simclr.optim.decay import kernels
from tf_simclr.optim.schedules import WarmupCosine
from tf_simclr.train.average import WeightAverage
from tf_simclr.train.device_views import DeviceViews, choose_place, given_views
from tf_simclr.train.distill_step import build_distill_step
from tf_simclr.train.images import evaluates, require_needed_labels, splits_of_run
from tf_simclr.train.input import view_policy
from tf_simclr.train.memory import MemoryBank
from tf_simclr.train.micro_batch import build_micro_batch_step
from tf_simclr.train.online_head import OnlineHead
from tf_simclr.train.precision import POLICIES, Updater
from tf_simclr.train.skip import SkippedUpdates
from tf_simclr.train.step import Logits, Step, build_finetune_step, build_pretrain_step, nothing_remembered
from tf_simclr.train.step_checks import check_step

Say = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """The two splits of a run; `evaluation` is None without a labelled evaluation split."""

    train: ImageSource
    evaluation: ImageSource | None


@dataclass(frozen=True)
class TrainState:
    """Everything a training loop needs.

    Attributes:
        config: the experiment.
        durations: its lengths in steps.
        model: the networks.
        optimizer: built on what is trained.
        schedule: step -> learning rate.
        step: one step on a replica.
        trained: the variables the optimizer was built with, in its order.
        penalized: variables whose weight decay is part of the loss.
        updater: applies gradients; holds the loss scale.
        online: trains the supervised head beside pretraining; None where the optimizer does, or where there is none.
        device_views: makes the views in the step; None where the input pipeline does.
        skipped: counts the updates that were left out.
        average: of the networks, over the steps; None without one.
        memory: negatives of earlier batches; None without them.
    """

    config: ExperimentConfig
    durations: Durations
    model: SimCLRModel
    optimizer: tf.keras.optimizers.Optimizer
    schedule: WarmupCosine
    step: Step
    trained: list[Any]
    penalized: list[Any]
    updater: Updater
    online: OnlineHead | None = None
    device_views: DeviceViews | None = None
    skipped: SkippedUpdates = field(default_factory=lambda: SkippedUpdates(0))
    average: WeightAverage | None = None
    memory: MemoryBank | None = None

    def named_state(self) -> dict[str, Any]:
        """Path -> variable of all that a resumed run needs, the same on every stack."""
        model = self.model.named_variables()
        path_of = {id(variable): path for path, variable in model.items()}
        trained = [path_of[id(v)] for v in self.trained]
        slots = {
            f"optimizer/{name}/{path}": slot
            for name, values in compat.optimizer_slots(self.optimizer).items()
            for path, slot in zip(trained, values, strict=True)
        }
        online = self.online.named_state() if self.online is not None else {}
        average = self.average.named_state() if self.average is not None else {}
        iterations = {"optimizer/iterations": self.optimizer.iterations}
        counters = {**self.updater.named_state(), **self.skipped.named_state()}
        memory = self.memory.named_state() if self.memory is not None else {}
        return {**model, **iterations, **slots, **online, **average, **memory, **counters}


def build_data(config: ExperimentConfig, before: ListedSplits | None = None) -> Data:
    """Opens both splits and checks that they suit the run.

    Args:
        config: of the run.
        before: as in `build_splits`.

    Raises:
        InputError: anything wrong with the data, or labels that the run needs and the data has not.
    """
    sources = splits_of_run(config, lambda eval_split: build_splits(config.data, eval_split=eval_split, before=before))
    require_needed_labels(config, sources.train)
    return Data(sources.train, sources.evaluation if evaluates(config) else None)


def build_networks(config: ExperimentConfig, num_classes: int) -> SimCLRModel:
    """The model of a run; call inside the strategy's scope. `num_classes` 0 means no supervised head."""
    model, train = config.model, config.train
    mean, std = model.input_normalization
    finetune = train.trains_classifier
    with_head = finetune or train.lineareval_while_pretraining
    return build_model(
        depth=model.resnet_depth,
        width_multiplier=model.width_multiplier,
        sk_ratio=model.sk_ratio,
        se_ratio=model.se_ratio,
        stem=model.stem_for(config.data.image_size),
        pool_padding=model.pool_padding,
        identity_shortcut=model.identity_shortcut,
        input_mean=mean,
        input_std=std,
        proj_head_mode=model.proj_head_mode,
        proj_out_dim=model.proj_out_dim,
        num_proj_layers=model.num_proj_layers,
        proj_head_offset=model.proj_head_offset,
        num_classes=num_classes if with_head else 0,
        finetune=finetune,
        # While pretraining, the online head always measures h.
        ft_proj_selector=train.ft_proj_selector if finetune else 0,
        fine_tune_after_block=train.fine_tune_after_block if finetune else -1,
        zero_init_logits_layer=model.zero_init_logits_layer,
        global_bn=model.global_bn,
        batch_norm_decay=model.batch_norm_decay,
        dtype=POLICIES[config.runtime.precision],
    )


def build_train_state(
    config: ExperimentConfig,
    durations: Durations,
    num_classes: int,
    *,
    contrastive: bool = True,
    teacher: Logits | None = None,
) -> TrainState:
    """Model, optimizer and step of a run; call inside the strategy's scope.

    Args:
        config: the experiment; its seed decides the initial weights.
        durations: of the run.
        num_classes: of the training data; 0 without labels.
        contrastive: False trains only the linear head, on an encoder that stays untrained.
        teacher: of a distillation, as in `build_distill_step`; None where no step will be taken, or
            for other trainings.
    """
    if config.runtime.mode != "eval":
        check_step(config, tf.distribute.get_strategy())
    tf.keras.utils.set_random_seed(config.runtime.seed)
    model = build_networks(config, num_classes)
    head = model.supervised_head
    online = build_online_head(config, durations, head)
    trained = list(model.trainable_variables if contrastive or head is None else head.trainable_variables)
    head_kernels = kernels(head.layers) if head is not None else []
    all_kernels = kernels(model.variable_layers().values())
    adapted = _without(all_kernels, head_kernels)
    # LARS and LAMB decay by themselves, but neither decay nor adapt the head: that one's decay is in the loss.
    penalized = head_kernels if config.optimizer.optimizer in ADAPTIVE_OPTIMIZERS else all_kernels
    if online is not None:
        assert head is not None
        trained, penalized = _without(trained, head.trainable_variables), _without(penalized, head_kernels)
    schedule = WarmupCosine(
        config.optimizer.peak_learning_rate(config.data.train_batch_size),
        durations.warmup_steps,
        durations.train_steps,
    )
    optimizer = build_optimizer(config.optimizer, schedule, trained, adapted)
    updater = Updater(optimizer, trained, dynamic_scale=config.runtime.precision == "float16")
    place = choose_place(config, tf.distribute.get_strategy())
    device_views = DeviceViews(*view_policy(config), compiled=place.compiled) if place.on_device else None
    views = device_views or given_views
    memory = None
    if config.loss.memory_size and contrastive:
        memory = MemoryBank(config, model, build_networks(config, num_classes=0), views)
    if config.train.train_mode == "distill":
        step = build_distill_step(model, teacher, updater, config, penalized, views=views)
    elif config.train.train_mode == "finetune":
        step = build_finetune_step(model, updater, config, penalized, views=views)
    else:
        build_step = build_micro_batch_step if config.train.micro_batch_size else build_pretrain_step
        step = build_step(
            *(model, updater, config, penalized),
            contrastive=contrastive,
            online=online,
            views=views,
            remembered=nothing_remembered if memory is None else memory.remembered,
        )
    average = None
    if config.train.ema_decay and contrastive:
        average = WeightAverage(config.train.ema_decay, model.named_variables(), optimizer.iterations)
    skipped = SkippedUpdates(config.train.skip_nonfinite_steps)
    state = TrainState(
        *(config, durations, model, optimizer, schedule, step, trained, penalized, updater, online, device_views),
        skipped=skipped,
        average=average,
        memory=memory,
    )
    return replace(state, step=_as_it_runs(state))


def _as_it_runs(state: TrainState) -> Step:
    """The step of a state with all that surrounds it: memory, average of the weights, updates left out, XLA."""
    step = state.step if state.memory is None else state.memory.remembering(state.step)
    step = step if state.average is None else state.average.averaging(step)
    if state.skipped.limit:
        step = state.skipped.guarded(step, state.named_state())
    if state.config.runtime.jit_compile:
        step = tf.function(step, jit_compile=True, autograph=False)
    return step


def build_online_head(config: ExperimentConfig, durations: Durations, head: tf.keras.Model | None) -> OnlineHead | None:
    """What trains the supervised head beside pretraining; None where the run's optimizer does, or there is no head."""
    train, optimizer = config.train, config.optimizer
    if head is None or not train.trains_online_head or train.online_head != "standardised":
        return None
    return OnlineHead(
        head,
        warmup_steps=durations.warmup_steps,
        train_steps=durations.train_steps,
        weight_decay=optimizer.weight_decay,
    )


def _without(variables: list[Any], excluded: list[Any]) -> list[Any]:
    out = {id(v) for v in excluded}
    return [v for v in variables if id(v) not in out]
