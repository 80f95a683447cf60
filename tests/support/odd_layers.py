"""Layers of one's own, as the literature has them, and the fans of their weights."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.support.functional import parameter

X, SEQUENCE, IMAGE = torch.ones(2, 8), torch.ones(2, 5, 8), torch.ones(2, 4, 6, 6)
W, KERNEL = (5, 8), (6, 4, 3, 3)


def standardized(m, x):
    w = m.w - m.w.mean((1, 2, 3), keepdim=True)
    return F.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5))


def standardized_by_batch_norm(m, x):
    gain = (m.g * 36**-0.5).view(-1)
    w = F.batch_norm(m.w.reshape(1, 6, -1), None, None, weight=gain, training=True)
    return F.conv2d(x, w.reshape_as(m.w))


def forced_norm(m, x):
    """EDM2's: the weight is normalized where it lies, then again, and its gain is learned."""

    def normalized(w):
        norm = torch.linalg.vector_norm(w, dim=(1, 2, 3), keepdim=True)
        return w / (1e-4 + norm * math.sqrt(6 / w.numel()))

    with torch.no_grad():
        m.w.copy_(normalized(m.w))
    w = normalized(m.w)
    return F.conv2d(x, w * (m.g / math.sqrt(w[0].numel())))


def straight_through(m, x):
    step = m.w.abs().max() / 127
    quantized = (m.w / step).round().clamp(-127, 127) * step
    return F.linear(x, m.w + (quantized - m.w).detach())


def tanh_quantized(m, x):
    """DoReFa's."""
    w = torch.tanh(m.w)
    w = w / (2 * w.abs().max()) + 0.5
    return F.linear(x, 2 * (torch.round(w * 15) / 15) - 1)


def assembled(m, x):
    w = torch.zeros(6, 8)
    w[:3] = m.a
    w[3:] = m.b
    return F.linear(x, w)


def quaternion(m, x):
    rows = torch.cat([m.a, -m.b], 1), torch.cat([m.b, m.a], 1)
    return F.linear(x, torch.cat(rows))


def demodulated(m, x, style):
    """StyleGAN2's, with the norms of the modulated kernels by a product of squares."""
    norms = style.square() @ m.w.square().sum((2, 3)).T
    return F.conv2d(x * style[:, :, None, None], m.w) * norms.rsqrt()[:, :, None, None]


def overwritten(m, x):
    """What memory held before it was written from end to end does not count."""
    return F.linear(x, torch.empty(W).copy_(m.v).copy_(m.w))


def mixed_kernels(m, x, routing):
    return F.conv2d(x.reshape(1, 8, 6, 6), (routing @ m.w).view(12, 4, 3, 3), groups=2)


def summed_kernels(m, x, routing):
    w = (routing[:, :, None, None, None, None] * m.w).sum(1)
    return F.conv2d(x.reshape(1, 8, 6, 6), w.view(12, 4, 3, 3), groups=2)


def generated_kernels(m, x, z):
    return F.conv2d(x.reshape(1, 8, 6, 6), m.layer(z).view(12, 4, 3, 3), groups=2)


def generated_matrix(m, x, z):
    return torch.einsum("bi,boi->bo", x, m.layer(z).view(2, 5, 8))


def modulated_pixel(m, x, z):
    """A product that is no larger than the style: one output channel, one tap."""
    w = m.w * m.layer(z)[:, None, :, None, None]
    return F.conv2d(x.reshape(1, 8, 6, 6), w.reshape(2, 4, 1, 1), groups=2)


def state_space(m, x):
    """Mamba's scan, which multiplies and adds but contracts only in its projections."""
    x = F.conv1d(x.mT, m.conv, groups=8).mT
    dt, b, c = m.x(x).split([2, 3, 3], -1)
    dt = F.softplus(m.dt(dt))
    state, outs = torch.zeros(2, 8, 3), []
    for t in range(x.shape[1]):
        decay = (dt[:, t, :, None] * -m.A_log.exp()).exp()
        state = decay * state + (dt[:, t] * x[:, t])[:, :, None] * b[:, t, None]
        outs.append((state * c[:, t, None]).sum(-1) + m.D * x[:, t])
    return torch.stack(outs, 1)


def diagonal_kernel(m, x):
    """S4D's: a complex weight against decaying exponentials, and a convolution by Fourier."""
    a = -m.A_re.exp() + 1j * m.A_im
    steps = a * m.log_dt.exp()[:, None]
    c = torch.view_as_complex(m.C) * (steps.exp() - 1) / a
    powers = (steps[..., None] * torch.arange(5)).exp()
    k = 2 * torch.einsum("hn,hnl->hl", c, powers).real
    spectrum = torch.fft.rfft(x.mT, n=10) * torch.fft.rfft(k, n=10)
    return torch.fft.irfft(spectrum, n=10)[..., :5]


def fourier(m, x):
    return torch.einsum("bixy,ioxy->boxy", torch.fft.rfft2(x)[..., :2, :2], m.w)


def forces(m, x):
    """The gradient of an energy: backward contracts over the other axis."""
    x = x.clone().requires_grad_()
    energy = m.b(m.a(x).tanh()).sum()
    return torch.autograd.grad(energy, x, create_graph=True)[0]


def qk_norm(m, x):
    return F.rms_norm(x @ m.q, (8,), m.g) @ (x @ m.k).mT


def learned_queries(m, x):
    return (m.q @ m.k(x).mT).softmax(-1) @ m.v(x)


def projected_queries(m, x):
    return (m.p(m.q) @ x.mT).softmax(-1) @ x


def by_hand(m, x):
    products = (x[:, None] * m.w).mT
    h = torch.cat([products[:0].sum(1), products.sum(1)]).relu()  # as experts without a sample
    return (h[:, None] * m.v).sum(-1)


def penalized(m, x):
    return F.linear(x, m.w), ((0.01 * m.w) @ m.w.T - torch.eye(5)).square().sum()


def position_network(m, x):
    """Swin v2's: a table of coordinates goes through layers of its own, and is added."""
    return x[:, None, :3] + (m.t @ m.a).relu() @ m.b


def relative_keys(m, x):
    """Transformer-XL's: constants are projected, then meet the queries."""
    return (x @ m.q) @ (m.t @ m.r).mT


def adapted(m, x):
    """A step of gradient descent on the weight, then the layer with the new one."""
    loss = m.layer(x).square().sum()
    (gradient,) = torch.autograd.grad(loss, m.layer.weight, create_graph=True)
    weights = {"weight": m.layer.weight - 0.1 * gradient}
    return torch.func.functional_call(m.layer, weights, (x,))


def up_sampled(m, x):
    """PGGAN's: a kernel, spread over four pixels, in a transposed convolution."""
    w = F.pad(m.w, [1, 1, 1, 1])
    w = w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]
    return F.conv_transpose2d(x, w, stride=2, padding=1)


def lora(m, x):
    return F.linear(x, m.w) + (x @ m.a.T) @ m.b.T * 0.5


def generated_by_weights(m, x, z):
    """A network that makes kernels: with a bias it is a layer, and its fan is that of the layer."""
    kernel = torch.addmm(m.b, z, m.w).view(6, 4, 3, 3)
    return F.conv2d(x, kernel)


@torch.library.custom_op("equalized_lr_tests::rounded", mutates_args=())
def rounded(w: torch.Tensor) -> torch.Tensor:
    return w.round(decimals=3)


@rounded.register_fake
def _(w):
    return torch.empty_like(w)


P = parameter
# fmt: off
CASES = {
    "weight standardization": (standardized, {"w": P(*KERNEL)}, (IMAGE,), {"w": (36, 54)}),
    "by batch norm": (standardized_by_batch_norm, {"w": P(*KERNEL), "g": P(6, 1, 1, 1)}, (IMAGE,),
        {"w": (36, 54)}),
    "forced norm": (forced_norm, {"w": P(*KERNEL), "g": P()}, (IMAGE,), {"w": (36, 54)}),
    "straight through": (straight_through, {"w": P(*W)}, (X,), {"w": (8, 5)}),
    "tanh quantized": (tanh_quantized, {"w": P(*W)}, (X,), {"w": (8, 5)}),
    "binary": (lambda m, x: F.linear(x, m.w.sign() * m.w.abs().mean()), {"w": P(*W)}, (X,),
        {"w": (8, 5)}),
    "DropConnect": (lambda m, x: F.linear(x, F.dropout(m.w, 0.5)), {"w": P(*W)}, (X,),
        {"w": (8, 5)}),
    "masked": (lambda m, x: F.linear(x, m.w * m.mask), {"w": P(*W), "mask": torch.ones(W).tril()},
        (X,), {"w": (8, 5)}),
    "learned mask": (lambda m, x: F.linear(x, m.w * m.s.sigmoid()), {"w": P(*W), "s": P(*W)}, (X,),
        {"w": (8, 5)}),
    "Bayesian": (lambda m, x: F.linear(x, m.mu + F.softplus(m.rho) * torch.randn_like(m.rho)),
        {"mu": P(*W), "rho": P(*W)}, (X,), {"mu": (8, 5)}),
    "cosine": (lambda m, x: 16 * F.linear(F.normalize(x), F.normalize(m.w)), {"w": P(*W)}, (X,),
        {"w": (8, 5)}),
    "learned gain": (lambda m, x: F.linear(x, m.w * (m.g * 3.0)), {"w": P(*W), "g": P(1)}, (X,),
        {"w": (8, 5)}),
    "learned positive gain": (lambda m, x: F.linear(x, m.w * m.g.exp()), {"w": P(*W), "g": P()},
        (X,), {"w": (8, 5)}),
    "assembled": (assembled, {"a": P(3, 8), "b": P(3, 8)}, (X,), {"a": (8, 6), "b": (8, 6)}),
    "quaternion": (quaternion, {"a": P(2, 4), "b": P(2, 4)}, (X,), {"a": (8, 4), "b": (8, 4)}),
    "complex": (lambda m, x: F.linear(x.cfloat(), torch.complex(m.re, m.im)),
        {"re": P(*W), "im": P(*W)}, (X,), {"re": (8, 5), "im": (8, 5)}),
    "Kronecker": (lambda m, x: F.linear(x, torch.kron(m.a, m.b)), {"a": P(2, 2), "b": P(3, 4)},
        (X,), {"a": (8, 6), "b": (8, 6)}),
    "overwritten": (overwritten, {"w": P(*W), "v": P(*W)}, (X,), {"w": (8, 5)}),
    "wrapped anew": (lambda m, x: F.linear(x, nn.Parameter(m.w.data)), {"w": P(*W)}, (X,),
        {"w": (8, 5)}),
    "a part wrapped anew": (lambda m, x: F.linear(x, nn.Parameter(m.w.data[2:])), {"w": P(*W)},
        (X,), {"w": (8, 3)}),
    "one connection": (lambda m, x: F.linear(x[:, :1], m.w), {"w": P(5, 1)}, (X,), {"w": (1, 5)}),
    "no connections": (lambda m, x: F.linear(x[:, :0], m.w), {"w": P(5, 0)}, (X,), {}),
    "a random gain": (lambda m, x: F.linear(x, m.w * torch.rand(())), {"w": P(*W)}, (X,),
        {"w": (8, 5)}),
    "a quotient": (lambda m, x: F.linear(x, m.w / m.d), {"w": P(*W), "d": P(*W)}, (X,),
        {"w": (8, 5)}),
    "slices": (lambda m, x: [F.linear(x, w) for w in m.w.split([8, 12, 4])], {"w": P(24, 8)}, (X,),
        {"w": (8, 12)}),
    ".data": (lambda m, x: F.linear(x, m.w.data), {"w": P(*W)}, (X,), {"w": (8, 5)}),
    "experts": (lambda m, x: torch.einsum("bhi,hio->bho", x, m.w), {"w": P(5, 8, 3)}, (SEQUENCE,),
        {"w": (8, 3)}),
    "indexed experts": (lambda m, x, i: torch.bmm(x, m.w[i]), {"w": P(3, 8, 4)},
        (SEQUENCE, torch.tensor([2, 0])), {"w": (8, 4)}),
    "vmap": (lambda m, x: torch.vmap(lambda w: F.linear(x, w))(m.w), {"w": P(4, *W)}, (X,),
        {"w": (8, 5)}),
    "own operation": (lambda m, x: F.linear(x, rounded(m.w)), {"w": P(*W)}, (X,), {"w": (8, 5)}),
    "kernels of raw weights": (generated_by_weights, {"w": P(8, 216), "b": P(216)},
        (IMAGE, torch.ones(1, 8)), {"w": (8, 216)}),
    "mixed kernels": (mixed_kernels, {"w": P(3, 216)}, (IMAGE, torch.ones(2, 3)), {"w": (36, 54)}),
    "summed kernels": (summed_kernels, {"w": P(3, 6, 4, 3, 3)}, (IMAGE, torch.ones(2, 3)),
        {"w": (36, 54)}),
    "generated kernels": (generated_kernels, {"layer": nn.Linear(3, 216)},
        (IMAGE, torch.ones(2, 3)), {"layer.weight": (3, 216)}),
    "generated kernels without a bias": (generated_kernels,
        {"layer": nn.Linear(3, 216, bias=False)}, (IMAGE, torch.ones(2, 3)),
        {"layer.weight": (3, 216)}),
    "generated matrix": (generated_matrix, {"layer": nn.Linear(3, 40)}, (X, torch.ones(2, 3)),
        {"layer.weight": (3, 40)}),
    "demodulated": (demodulated, {"w": P(*KERNEL)}, (IMAGE, torch.ones(2, 4)), {"w": (36, 54)}),
    "modulated pixel": (modulated_pixel, {"w": P(1, 1, 4, 1, 1), "layer": nn.Linear(8, 4)},
        (IMAGE, X), {"w": (4, 1), "layer.weight": (8, 4)}),
    "depthwise": (lambda m, x: F.conv2d(x, m.w, groups=4, stride=2), {"w": P(4, 1, 3, 3)}, (IMAGE,),
        {"w": (9, 9 / 4)}),
    "transposed": (lambda m, x: F.conv_transpose2d(x, m.w, groups=2, stride=2),
        {"w": P(4, 3, 4, 4)}, (IMAGE,), {"w": (8, 48)}),
    "unfolded": (lambda m, x: m.w @ F.unfold(x, 3), {"w": P(6, 36)}, (IMAGE,), {"w": (36, 6)}),
    "Mamba": (state_space, {"conv": P(8, 1, 2), "x": nn.Linear(8, 8), "dt": nn.Linear(2, 8),
        "A_log": P(8, 3), "D": P(8)}, (SEQUENCE,),
        {"conv": (2, 2), "x.weight": (8, 8), "dt.weight": (2, 8)}),
    "S4D": (diagonal_kernel, {"C": P(8, 3, 2), "A_re": P(8, 3), "A_im": P(8, 3), "log_dt": P(8)},
        (SEQUENCE,), {"C": (3, 1)}),
    "Fourier layer": (fourier, {"w": P(4, 3, 2, 2, dtype=torch.cfloat)}, (IMAGE,), {"w": (4, 3)}),
    "forces": (forces, {"a": nn.Linear(8, 6), "b": nn.Linear(6, 3)}, (X,),
        {"a.weight": (8, 6), "b.weight": (6, 3)}),
    "query-key norm": (qk_norm, {"q": P(8, 8), "k": P(8, 8), "g": P(8)}, (SEQUENCE,),
        {"q": (8, 8), "k": (8, 8)}),
    "learned queries": (learned_queries, {"q": P(3, 8), "k": nn.Linear(8, 8), "v": nn.Linear(8, 8)},
        (SEQUENCE,), {"q": (8, 3), "k.weight": (8, 8), "v.weight": (8, 8)}),
    "projected queries": (projected_queries, {"q": P(3, 6), "p": nn.Linear(6, 8)}, (SEQUENCE,),
        {"p.weight": (6, 8)}),
    "relative positions": (lambda m, x: (x @ m.q) @ m.r.T, {"q": P(8, 8), "r": P(7, 8)}, (X,),
        {"q": (8, 8), "r": (8, 7)}),
    "relative keys": (relative_keys, {"q": P(8, 4), "r": P(6, 4), "t": torch.ones(3, 6)}, (X,),
        {"q": (8, 4), "r": (6, 4)}),
    "position network": (position_network, {"a": P(2, 6), "b": P(6, 3), "t": torch.ones(7, 2)},
        (X,), {"a": (2, 6), "b": (6, 3)}),
    "gain before a weight": (lambda m, x: (x * m.g) @ m.w, {"g": P(8), "w": P(8, 5)}, (X,),
        {"w": (8, 5)}),
    "BatchEnsemble": (lambda m, x: ((x * m.r) @ m.w.T) * m.s,
        {"w": P(*W), "r": P(2, 8), "s": P(2, 5)}, (X,), {"w": (8, 5)}),
    "sums of products": (by_hand, {"w": P(*W), "v": P(6, 5)}, (X,), {"w": (8, 5), "v": (5, 6)}),
    "means of products": (lambda m, x: (x[:, None] * m.w).mean(-1), {"w": P(*W)}, (X,),
        {"w": (8, 5)}),
    "an expanded gain": (lambda m, x: (x * m.g.expand(2, 5, 8)) @ x.mT, {"g": P(8)}, (SEQUENCE,),
        {}),
    "a gain as large as its input": (lambda m, x: (x * m.g) @ x.mT, {"g": P(1, 5, 8)},
        (SEQUENCE[:1],), {}),
    "learned weights from a bank": (lambda m, x: F.linear(x, (m.a.softmax(0) * m.w).sum(0)),
        {"a": P(3, 1, 1), "w": P(3, 5, 8)}, (X,), {"w": (8, 5)}),
    "added to a constant": (lambda m, x: F.linear(x, torch.eye(8) + m.w), {"w": P(8, 8)}, (X,),
        {"w": (8, 8)}),
    "adapted inside": (adapted, {"layer": nn.Linear(8, 5)}, (X,), {"layer.weight": (8, 5)}),
    "fused up-sampling": (up_sampled, {"w": P(4, 6, 3, 3)}, (IMAGE,), {"w": (16, 96)}),
    "circulant": (lambda m, x: x @ m.c[(torch.arange(8)[:, None] - torch.arange(8)) % 8],
        {"c": P(8)}, (X,), {"c": (8, 8)}),
    "penalty": (penalized, {"w": P(*W)}, (X,), {"w": (8, 5)}),
    "LoRA": (lora, {"w": P(*W), "a": P(2, 8), "b": P(5, 2)}, (X,),
        {"w": (8, 5), "a": (8, 2), "b": (2, 5)}),
    "memory": (lambda m, x: (x @ m.k.T).softmax(-1) @ m.v, {"k": P(16, 8), "v": P(16, 8)}, (X,),
        {"k": (8, 16), "v": (16, 8)}),
    "tokens and positions": (lambda m, x: torch.cat([m.c.expand(2, 1, 8), x], 1) + m.p,
        {"c": P(1, 1, 8), "p": P(1, 6, 8)}, (SEQUENCE,), {}),
    "inputs of its own": (lambda m: (torch.randn(2, 8) @ m.a).relu() @ m.b,
        {"a": P(8, 6), "b": P(6, 3)}, (), {"a": (8, 6), "b": (6, 3)}),
}
# fmt: on
