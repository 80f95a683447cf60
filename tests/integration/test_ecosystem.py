"""Other libraries around an equalized model: each gives the numbers of a loop written by hand."""

import lightning
import pytest
import torch
import transformers
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.training_utils import EMAModel
from ema_pytorch import EMA
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn

from equalized_lr import equalize_lr, he_scales, plain_state_dict, remove_equalized_lr
from tests.support.assertions import assert_equal

STEPS = 4
DATA = torch.randn(STEPS, 8, 8, generator=torch.Generator().manual_seed(1))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


def loss_of(output):
    return output.float().square().mean()


def make_optimizer(model):
    # An eps far above the rounding of gradients keeps Adam from growing it into whole steps.
    return torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-3)


def by_hand(model, batches=DATA, dtype=None):
    """A plain loop; the effective weight of the first layer after each step."""
    optimizer, history = make_optimizer(model), []
    for x in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            output = model(x)
        loss_of(output).backward()
        optimizer.step()
        history.append(effective(model[0]))
    return history


def effective(layer):
    return layer.weight.detach().clone()


def assert_same_parameters(actual, expected):
    """The same names and, to the last bit, values."""
    expected = dict(expected.named_parameters())
    assert [name for name, _ in actual.named_parameters()] == list(expected)
    for name, parameter in actual.named_parameters():
        assert_equal(parameter, expected[name])


class Regression(lightning.LightningModule):
    """As one writes it for Lightning."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = equalize_lr(net()), []

    def training_step(self, batch, index):
        self.seen.append(batch[0].squeeze(0))
        return loss_of(self.net(batch[0]))

    def configure_optimizers(self):
        return make_optimizer(self)


def fit(module, steps, *callbacks, resume=None):
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(DATA, batch_size=1), ckpt_path=resume)
    assert trainer.global_step == steps
    return trainer


from_lightning = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec, LeafSpec.:FutureWarning",
    "ignore:.*does not have many workers",
)


@from_lightning
def test_lightning_trains_as_a_loop(tmp_path):
    """One epoch, then another one by a new module from a checkpoint with the optimizer."""
    first, second = Regression(), Regression()
    fit(first, STEPS).save_checkpoint(tmp_path / "first.ckpt")
    expected = equalize_lr(net())
    by_hand(expected)
    assert_same_parameters(first.net, expected)

    fit(second, 2 * STEPS, resume=tmp_path / "first.ckpt")
    expected = equalize_lr(net())  # Lightning has an order of its own after a resumption
    by_hand(expected, first.seen + second.seen)
    assert_same_parameters(second.net, expected)


@from_lightning
def test_weight_averaging():
    """Lightning's callback ends with the mean of the effective weights after each step."""
    history = by_hand(equalize_lr(net()))
    module = Regression()
    fit(module, STEPS, WeightAveraging())
    torch.testing.assert_close(module.net[0].weight, torch.stack(history).mean(0))
    assert not torch.allclose(module.net[0].weight, history[-1])


def exponential(history, decay):
    """The exponential moving average, which begins with the first value."""
    mean = history[0]
    for value in history[1:]:
        mean = decay * mean + (1 - decay) * value
    return mean


def test_ema_pytorch():
    """The average's effective weights are the average of the effective weights."""
    model = equalize_lr(net())
    ema = EMA(model, beta=0.75, min_value=0.75, update_after_step=0, update_every=1)
    ema.update()  # begins with a copy, and so does the step after it
    ema.update()
    history = [effective(model[0])]
    for x in DATA:
        history += by_hand(model, [x])
        ema.update()
    expected = exponential(history, 0.75)
    torch.testing.assert_close(ema.ema_model[0].weight, expected)
    assert not torch.allclose(expected, history[-1], atol=1e-4)
    ema.update_model_with_ema(decay=0.0)
    torch.testing.assert_close(model[0].weight, expected)


def test_the_average_of_diffusers():
    """EMAModel goes by the order of the Parameters; what it stores and restores is the same."""
    model = equalize_lr(net())
    ema = EMAModel(model.parameters(), decay=0.75, min_decay=0.75)
    history = []
    for x in DATA:
        history += by_hand(model, [x])
        ema.step(model.parameters())
    ema.store(model.parameters())
    ema.copy_to(model.parameters())
    torch.testing.assert_close(model[0].weight, exponential(history, 0.75))
    ema.restore(model.parameters())
    assert_equal(model[0].weight, history[-1])


def test_gradient_scaling():
    """float16 on a CPU: a step that overflows is skipped and halves the scale; no other is."""
    model, expected = equalize_lr(net()), equalize_lr(net())
    by_hand(expected, DATA[:2], torch.float16)
    optimizer, scaler = make_optimizer(model), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    scales, skipped = [], []
    for x in (DATA[0], 1e4 * DATA[2], DATA[1]):
        before = effective(model[0])
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            output = model(x)
        scaler.scale(loss_of(output)).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        skipped.append(torch.equal(model[0].weight, before))
    assert scales == [2.0**8, 2.0**7, 2.0**7]
    assert skipped == [False, True, False]
    # The scales are powers of two: only float16's subnormals are rounded otherwise.
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected.get_parameter(name), rtol=0, atol=1e-5)


@pytest.fixture
def accelerated():
    """Accelerators of different settings, one after the other."""

    def make(**options):
        AcceleratorState._reset_state(reset_partial_state=True)
        return Accelerator(cpu=True, **options)

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("make", [net, lambda: net()[:1]], ids=["model", "one layer"])
def test_accelerate_trains_as_a_loop(accelerated, make, precision, tmp_path):
    """Also where accelerate replaces the forward of the layer itself, and over save and load."""
    expected, model = equalize_lr(make()), equalize_lr(make())
    by_hand(expected, dtype=torch.bfloat16 if precision == "bf16" else None)
    accelerator = accelerated(mixed_precision=precision)
    called = model if len(model) > 1 else model[0]
    called, optimizer = accelerator.prepare(called, make_optimizer(model))
    for step in (0, 1, "load", 1, 2, 3):
        if step == "load":
            accelerator.load_state(tmp_path)
            continue
        optimizer.zero_grad()
        accelerator.backward(loss_of(called(DATA[step])))
        optimizer.step()
        if step == 0:
            accelerator.save_state(tmp_path)
    assert_same_parameters(model, expected)
    plain = accelerator.unwrap_model(called, keep_fp32_wrapper=False)
    assert not any("orig" in key for key in remove_equalized_lr(plain).state_dict())


def test_weight_decay():
    """AdamW shrinks the effective weights by 1 - lr * weight_decay, as those of a plain model."""
    model = equalize_lr(net())
    before = plain_state_dict(model)
    named = transformers.trainer_pt_utils.get_parameter_names(model, [nn.LayerNorm], ["bias"])
    assert named == ["0.weight_orig", "2.weight_orig"]
    decayed = [model.get_parameter(name) for name in named]
    optimizer = torch.optim.AdamW(decayed, lr=0.5, weight_decay=0.25)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in plain_state_dict(model).items():
        factor = 0.875 if name in he_scales(model) else 1.0
        torch.testing.assert_close(value, before[name] * factor)
