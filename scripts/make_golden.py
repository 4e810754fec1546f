#!/usr/bin/env python3
"""The golden numbers: an independent float64 PyTorch reference of the model, its gradient and its training.

    make_golden.py --out tests/golden [--case NAME]            writes the fixtures, the same bytes every time
    make_golden.py --config CONFIG --init DIR --out FILE       the same numbers for any config and weights

A fixture is config.json (a complete saslm config), model.safetensors (initial weights, F32) and expected.json:

    steps             [{step, loss, grad_norm, lr}]   loss before the update, norm before the clip; aux_loss beside the
                      loss where training adds something to it
    evals             [{step, val_loss}]              step = updates done
    first_grad_norms  {tensor: L2 norm of its gradient at step 0, before the clip}
    n_parameters

Weights are rounded to float32 before the reference starts from them, so a reader starts from the same values.
Numbers carry 12 digits. A gradient norm below 1e-12 is written as 0: it is zero by symmetry (a key bias under softmax)
and would show nothing but rounding. `--dtype float32` runs the same arithmetic in single precision: how far it strays
from float64 is what a tolerance of an fp32 trainer can be derived from.

Needs PyTorch (1.13 or newer), nothing else. Shapes: B batch, T time, H heads, G key/value heads, D head width,
Hs and Ds the simulated ones, C and W channels and width of whatever passes through the simulation.
"""
import argparse
import glob
import importlib
import json
import math
import struct
import sys
import zlib
from array import array
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F

# ---------------------------------------------------------------------------------------------------- configuration

DEFAULTS = {
    "model": {"tie_embeddings": True, "bias": False, "logit_softcap": 0},
    "attention": {"position": "rope", "rope_base": 10000.0, "n_kv_head": None, "sas": None, "moh": None,
                  "window": None},
    "sas": {"n_sim_head": None, "sim_head_dim": None, "kernel_size": 5, "simulate": ["heads", "features", "values"]},
    "norm": {"kind": "rmsnorm", "eps": 1e-5},
    "optim": {"lr": 6e-4, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0},
    "schedule": {"kind": "cosine", "warmup_steps": 0, "min_lr_ratio": 0.1, "decay_fraction": 0.2},
    "train": {"steps": 1000, "micro_batch": 8, "grad_accum": None, "global_batch": None, "z_loss": 0},
    "eval": {"every_steps": 250, "max_sequences": 0},
}


def part(name, given):
    return SimpleNamespace(**{**DEFAULTS.get(name, {}), **given})


def read_config(path):
    """model (with attention, sas, mlp, norm), optim (with schedule), train, eval and data, defaults filled in."""
    top = json.loads(Path(path).read_text())
    model = part("model", top["model"])
    att = model.attention = part("attention", model.attention)
    model.mlp = part("mlp", model.mlp)
    model.norm = part("norm", getattr(model, "norm", {}))
    if att.kind not in PROJECTIONS:
        sys.exit(f"{path}: model.attention.kind: this reference knows {', '.join(PROJECTIONS)}, not {att.kind}")
    att.n_kv_head = {"mha": att.n_head, "sas": att.n_head, "moh": att.n_head, "mqa": 1}.get(att.kind, att.n_kv_head)
    if att.sas is not None:
        sas = att.sas = part("sas", att.sas)
        sas.heads, sas.features, sas.values = (word in sas.simulate for word in ("heads", "features", "values"))
        sas.values = sas.values and sas.heads  # v has only the head simulation
        sas.n_sim_head = sas.n_sim_head if sas.heads else att.n_head
        sas.sim_head_dim = sas.sim_head_dim if sas.features else PROJECTIONS[att.kind].streams(model)["q"][1]

    optim = part("optim", top.get("optim", {}))
    optim.schedule = part("schedule", getattr(optim, "schedule", {}))
    train = part("train", top.get("train", {}))
    train.seq_len = getattr(train, "seq_len", model.max_seq_len)
    train.grad_accum = train.grad_accum or (train.global_batch or train.micro_batch) // train.micro_batch
    return SimpleNamespace(model=model, optim=optim, train=train, eval=part("eval", top.get("eval", {})),
                           data=top["data"], folder=Path(path).parent)


# ------------------------------------------------------------------------------------------------------- parameters

def parameter_shapes(m):
    """Name -> shape of every tensor, by the names of checkpoints."""
    a, sas, d, hidden = m.attention, m.attention.sas, m.d_model, m.mlp.hidden
    project = PROJECTIONS[a.kind]
    shapes = {"embed.weight": [m.vocab_size, d]}

    def add(name, weight, bias):
        shapes[name + ".weight"] = weight
        if bias:
            shapes[name + ".bias"] = weight[:1]

    def add_norm(name):
        add(name, [d], m.norm.kind == "layernorm")

    if a.position == "learned":
        shapes["pos_embed.weight"] = [m.max_seq_len, d]
    for i in range(m.n_layer):
        at, mlp = f"layers.{i}.attn.", f"layers.{i}.mlp."
        add_norm(f"layers.{i}.attn_norm")
        for name, (heads, width, tensors) in project.streams(m).items():
            for tensor, shape in tensors.items():
                add(at + tensor, shape, m.bias and project.biases)
            if sas and sas.heads and (name != "v" or sas.values):
                add(f"{at}sas.{name}.conv1", [sas.n_sim_head, heads, sas.kernel_size], True)
                add(f"{at}sas.{name}.conv2", [sas.n_sim_head, sas.n_sim_head, sas.kernel_size], True)
            if sas and sas.features and name != "v":
                add(f"{at}sas.{name}.proj1", [sas.sim_head_dim, width], True)
                add(f"{at}sas.{name}.proj2", [sas.sim_head_dim, sas.sim_head_dim], True)
        add(at + "o", [d, a.n_head * width], m.bias and project.biases)  # width: v's
        for stage in stages_after_core(a):
            for tensor, shape in stage["shapes"](m).items():
                add(at + tensor, shape, False)
        add_norm(f"layers.{i}.mlp_norm")
        for name in ("gate", "up") if m.mlp.kind == "swiglu" else ("up",):
            add(mlp + name, [hidden, d], m.bias)
        add(mlp + "down", [d, hidden], m.bias)
    add_norm("final_norm")
    if not m.tie_embeddings:
        shapes["head.weight"] = [m.vocab_size, d]
    return shapes


def draw_parameters(m, seed):
    """Float32 weights, wide enough that attention is far from flat and every bias and norm weight matters."""
    generator = torch.Generator().manual_seed(seed)

    def draw(shape, sd):  # uniform: only additions and products, hence the same bits on every machine
        return (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * (sd * math.sqrt(3))

    params = {}
    for name, shape in parameter_shapes(m).items():
        if "norm" in name:
            value = draw(shape, 0.15) + (1 if name.endswith(".weight") else 0)
        elif name.endswith(".bias"):
            value = draw(shape, 0.1)
        elif "embed" in name or name == "head.weight":
            value = draw(shape, 0.2)
        else:  # linears [out, in], convs [out, in, k]; wide simulations would saturate softmax and blow up fp32 rounding
            value = draw(shape, (0.7 if ".sas." in name else 1.2) / math.sqrt(math.prod(shape[1:])))
        params[name] = value.float()
    return params


# ------------------------------------------------------------------------------------------------------------ files

def write_safetensors(path, tensors):
    header, payload = {}, b""
    for name, tensor in tensors.items():
        data = struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(payload), len(payload) + len(data)]}
        payload += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


def read_safetensors(path, shapes):
    raw = path.read_bytes()
    size, = struct.unpack_from("<Q", raw)
    header = {name: entry for name, entry in json.loads(raw[8:8 + size]).items() if name != "__metadata__"}
    wrong = [name for name in header.keys() | shapes.keys()
             if name not in header or header[name]["dtype"] != "F32" or header[name]["shape"] != shapes.get(name)]
    if wrong:
        sys.exit(f"{path}: the config asks for other F32 tensors; first difference: {sorted(wrong)[0]}")
    params = {}
    for name, shape in shapes.items():
        begin, end = header[name]["data_offsets"]
        params[name] = torch.tensor(struct.unpack_from(f"<{(end - begin) // 4}f", raw, 8 + size + begin)).reshape(shape)
    return params


def write_shard(path, tokens):
    path.write_bytes(struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens))


def read_samples(config, patterns):
    """All samples in file order: [n, T + 1]. Sample i of a shard is tokens[i*T .. i*T+T]; the tail is dropped."""
    if config.data.get("shuffle", True):
        sys.exit(f"{config.folder}: data.shuffle: this reference reads in file order and needs false")
    T, samples = config.train.seq_len, []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        for path in sorted(glob.glob(str(config.folder / pattern))):
            raw = Path(path).read_bytes()
            magic, version, count = struct.unpack_from("<3i", raw)
            if (magic, version) not in ((20240520, 1), (20240801, 7)):
                sys.exit(f"{path}: not a token shard: magic {magic}, version {version}")
            tokens = torch.tensor(array("H" if version == 1 else "I", raw[1024:]).tolist())
            if len(tokens) != count or int(tokens.max()) >= config.model.vocab_size:
                sys.exit(f"{path}: {len(tokens)} tokens up to {int(tokens.max())}; its header says {count}, "
                         f"the vocabulary has {config.model.vocab_size}")
            samples += [tokens[i * T:i * T + T + 1] for i in range((count - 1) // T)]
    if not samples:
        sys.exit(f"{patterns}: no sample of {T + 1} tokens")
    return torch.stack(samples)


# ------------------------------------------------------------------------------------------------------------ model

def linear(p, name, x):
    y = x @ p[name + ".weight"].T
    return y + p[name + ".bias"] if name + ".bias" in p else y


def norm(p, m, name, x):
    if m.norm.kind == "layernorm":
        x = x - x.mean(-1, keepdim=True)
    y = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + m.norm.eps) * p[name + ".weight"]
    return y + p[name + ".bias"] if m.norm.kind == "layernorm" else y


def mlp(p, m, i, x):
    at = f"layers.{i}.mlp."
    up = linear(p, at + "up", x)
    if m.mlp.kind == "swiglu":
        gate = linear(p, at + "gate", x)
        hidden = gate * torch.sigmoid(gate) * up
    elif m.mlp.kind == "gelu":
        hidden = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up ** 3)))
    else:  # relu2
        hidden = torch.relu(up) ** 2
    return linear(p, at + "down", hidden)


def rope(x, base):
    """[B, T, H, E]: the pair (i, i + E/2) turns by t * base^(-2i/E)."""
    T, E = x.shape[1], x.shape[3]
    speed = torch.tensor([base ** (-2 * i / E) for i in range(E // 2)], dtype=torch.float64)
    angle = torch.arange(T, dtype=torch.float64)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype)[:, None, :], angle.sin().to(x.dtype)[:, None, :]
    a, b = x[..., :E // 2], x[..., E // 2:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def simulate_heads(p, name, x):
    """[B, T, C, D] -> [B, T, Hs, D]: heads are the channels, a head's features the line."""
    B, T, C, D = x.shape

    def conv(which, line):
        weight = p[f"{name}.{which}.weight"]
        return F.conv1d(line, weight, p[f"{name}.{which}.bias"], padding=(weight.shape[2] - 1) // 2)

    z1 = conv("conv1", x.reshape(B * T, C, D))
    z2 = z1 + conv("conv2", torch.relu(z1))
    return z2.reshape(B, T, -1, D)


def simulate_features(p, name, x):
    """[B, T, C, D] -> [B, T, C, Ds]"""
    z3 = linear(p, name + ".proj1", x)
    return z3 + linear(p, name + ".proj2", torch.relu(z3))


class Grouped:
    """mha, mqa, gqa, sas, moh. A projection tells each stream's (heads, width, {tensor: shape}), and makes the streams of x
    [B, T, d]; turn(y) rotates [B, T, any, E], or does nothing when there is no rotation or the simulation comes first."""
    biases = True

    @staticmethod
    def streams(m):
        a = m.attention
        return {name: (heads, a.head_dim, {name: [heads * a.head_dim, m.d_model]})
                for name, heads in (("q", a.n_head), ("k", a.n_kv_head), ("v", a.n_kv_head))}

    @staticmethod
    def project(p, m, at, x, turn):
        q, k, v = (linear(p, at + name, x).unflatten(-1, (-1, m.attention.head_dim)) for name in "qkv")
        return turn(q), turn(k), v


# Every other kind is a file golden/KIND.py with streams, project and CASES (make_case's arguments), and without biases.
# A stage after the core is one with shapes, after_core and CASES; it is named after its key in the attention block.
# golden/logits.py: what follows the head.
VARIANTS = {path.stem: vars(importlib.import_module(f"golden.{path.stem}"))
            for path in sorted((Path(__file__).parent / "golden").glob("*.py"))}
PROJECTIONS = {"mha": Grouped, "mqa": Grouped, "gqa": Grouped, "sas": Grouped, "moh": Grouped,
               **{kind: SimpleNamespace(biases=False, **v) for kind, v in VARIANTS.items() if "project" in v}}
BEFORE_CORE = ["sas"]  # in attention(), below
AFTER_CORE = ["moh"]  # in their order


def stages_after_core(a):
    return [VARIANTS[name] for name in AFTER_CORE if getattr(a, name, None)]


def attention(p, m, i, x, aux_losses):
    a, sas, at = m.attention, m.attention.sas, f"layers.{i}.attn."
    B, T, _ = x.shape
    H = a.n_head

    def turn(y):
        return rope(y, a.rope_base) if a.position == "rope" else y

    q, k, v = PROJECTIONS[a.kind].project(p, m, at, x, (lambda y: y) if sas else turn)
    if sas and sas.heads:
        q, k = simulate_heads(p, at + "sas.q", q), simulate_heads(p, at + "sas.k", k)
        if sas.values:
            v = simulate_heads(p, at + "sas.v", v)
        else:  # simulated head h reads what real head h mod H would
            v = v[:, :, [(h % H) // (H // v.shape[2]) for h in range(sas.n_sim_head)]]
    if sas and sas.features:
        q, k = simulate_features(p, at + "sas.q", q), simulate_features(p, at + "sas.k", k)
    if sas:
        q, k = turn(q), turn(k)

    heads = q.shape[2]  # query head h reads kv head floor(h / (heads / kv heads))
    k, v = (y.repeat_interleave(heads // y.shape[2], dim=2) for y in (k, v))
    score = torch.einsum("bthe,bshe->bhts", q, k) / math.sqrt(q.shape[3])
    hidden = torch.ones(T, T, dtype=torch.bool).triu(1)
    if a.window:
        pattern = a.window.get("pattern", "S")
        if pattern[i % len(pattern)] == "S":
            for query in range(T):
                hidden[query, :max(0, query - a.window["size"] + 1)] = True
    weight = score.masked_fill(hidden, -math.inf).softmax(-1)
    out = torch.einsum("bhts,bshd->bthd", weight, v)
    out = out.unflatten(2, (heads // H, H)).mean(2)  # PEAA: head g*H + h belongs to group g
    for stage in stages_after_core(a):
        out, aux = stage["after_core"](p, m, at, x, out)
        aux_losses += [] if aux is None else [aux]
    return linear(p, at + "o", out.flatten(2))


def loss_of(p, m, samples, z_loss=0):
    """Mean cross-entropy in nats over all targets of samples [B, T + 1], and what training adds to it (None: nothing)."""
    inputs, targets = samples[:, :-1], samples[:, 1:]
    x, aux_losses = p["embed.weight"][inputs], []
    if m.attention.position == "learned":
        x = x + p["pos_embed.weight"][:inputs.shape[1]]
    for i in range(m.n_layer):
        x = x + attention(p, m, i, norm(p, m, f"layers.{i}.attn_norm", x), aux_losses)
        x = x + mlp(p, m, i, norm(p, m, f"layers.{i}.mlp_norm", x))
    logits = norm(p, m, "final_norm", x) @ p["embed.weight" if m.tie_embeddings else "head.weight"].T
    logits = VARIANTS["logits"]["capped"](m, logits)
    picked, lse = logits.gather(-1, targets[..., None])[..., 0], torch.logsumexp(logits, -1)
    terms = ([sum(aux_losses) / m.n_layer] if aux_losses else []) + VARIANTS["logits"]["z_term"](z_loss, lse)
    return (lse - picked).mean(), sum(terms) if terms else None


# --------------------------------------------------------------------------------------------------------- training

def learning_rate(optim, steps, s):
    c, peak = optim.schedule, optim.lr
    low, warmup = peak * c.min_lr_ratio, c.warmup_steps
    if s < warmup:
        return peak * (s + 1) / warmup
    f = (s + 1 - warmup) / (steps - warmup)
    if c.kind == "cosine":
        return low + 0.5 * (peak - low) * (1 + math.cos(math.pi * f))
    if c.kind == "linear":
        return peak + (low - peak) * f
    if c.kind == "wsd":
        last = math.floor(c.decay_fraction * steps + 0.5)
        into = s + 1 - (steps - last)
        return peak + (low - peak) * into / last if into > 0 else peak
    return peak  # constant


def global_norm(tensors):
    return math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))


def adamw(optim, lr, t, params, grads, m, v):
    """Update number t, counted from 1. Decay only where there are two dimensions or more."""
    b1, b2 = optim.betas
    for name, p in params.items():
        m[name] = b1 * m[name] + (1 - b1) * grads[name]
        v[name] = b2 * v[name] + (1 - b2) * grads[name] ** 2
        step = (m[name] / (1 - b1 ** t)) / ((v[name] / (1 - b2 ** t)).sqrt() + optim.eps)
        decay = optim.weight_decay if p.dim() >= 2 else 0.0
        params[name] = p - lr * (step + decay * p)


def gradient(model, params, micro_batches, z_loss):
    """Loss, auxiliary loss and the gradient of their sum, all means over the micro-batches."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    losses, aux_losses = zip(*(loss_of(leaves, model, batch, z_loss) for batch in micro_batches))
    loss = sum(losses) / len(losses)
    aux = None if aux_losses[0] is None else sum(aux_losses) / len(losses)
    (loss if aux is None else loss + aux).backward()
    return loss.item(), {} if aux is None else {"aux_loss": aux.item()}, {name: leaf.grad for name, leaf in leaves.items()}


def run(config, params, dtype):
    train, optim, model = config.train, config.optim, config.model
    params = {name: p.to(dtype) for name, p in params.items()}
    m, v = ({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2))
    samples = read_samples(config, config.data["train"])
    val = read_samples(config, config.data["val"]) if config.data.get("val") else None
    if val is not None and 0 < config.eval.max_sequences < len(val):
        sys.exit("eval.max_sequences: this reference evaluates all sequences and needs 0")
    result = {"steps": [], "evals": [], "first_grad_norms": {}, "n_parameters": sum(p.numel() for p in params.values())}

    def evaluate(step):
        if val is not None:
            with torch.no_grad():
                result["evals"].append({"step": step, "val_loss": loss_of(params, model, val)[0].item()})

    evaluate(0)
    for s in range(train.steps):
        per_step = train.micro_batch * train.grad_accum
        batch = samples[torch.arange(s * per_step, (s + 1) * per_step) % len(samples)]
        loss, aux, grads = gradient(model, params, batch.split(train.micro_batch), train.z_loss)
        grad_norm = global_norm(grads.values())
        if s == 0:
            result["first_grad_norms"] = {name: global_norm([g]) for name, g in grads.items()}
        if optim.grad_clip > 0:
            scale = min(1.0, optim.grad_clip / (grad_norm + 1e-6))
            grads = {name: g * scale for name, g in grads.items()}
        lr = learning_rate(optim, train.steps, s)
        adamw(optim, lr, s + 1, params, grads, m, v)
        result["steps"].append({"step": s, "loss": loss, "grad_norm": grad_norm, "lr": lr, **aux})
        if s + 1 == train.steps or (config.eval.every_steps and (s + 1) % config.eval.every_steps == 0):
            evaluate(s + 1)
    return result


def format_result(result):
    def rounded(x):
        return (0.0 if abs(x) < 1e-12 else float(f"{x:.12g}")) if isinstance(x, float) else x

    def rows(name):
        lines = (json.dumps({key: rounded(x) for key, x in row.items()}) for row in result[name])
        return f'  "{name}": [\n    ' + ",\n    ".join(lines) + "\n  ]"

    norms = {name: rounded(x) for name, x in result["first_grad_norms"].items()}
    norms = json.dumps(norms, indent=2).replace("\n", "\n  ")
    parts = [rows("steps"), rows("evals"), f'  "first_grad_norms": {norms}', f'  "n_parameters": {result["n_parameters"]}']
    return "{\n" + ",\n".join(parts) + "\n}\n"


# ------------------------------------------------------------------------------------------------------------ cases

def sas_block(n_sim_head, sim_head_dim, kernel_size, *simulate):
    block = {"n_sim_head": n_sim_head, "sim_head_dim": sim_head_dim, "kernel_size": kernel_size}
    return {"sas": {**block, "simulate": list(simulate)} if simulate else block}


def make_case(kind, n_head, head_dim=None, position="rope", *, n_layer=2, d=24, vocab=61, T=17, max_seq_len=None, mlp="swiglu", hidden=40,
              norm="rmsnorm", norm_eps=1e-5, bias=False, tie=True, schedule="cosine", warmup=3, low=0.1, decay=None, clip=1.0,
              lr=4e-3, betas=(0.9, 0.95), adam_eps=1e-8, batch=4, accum=1, every=5, softcap=None, z_loss=None, **attention):
    wsd = {} if decay is None else {"decay_fraction": decay}
    return {
        "model": {"vocab_size": vocab, "n_layer": n_layer, "d_model": d, "max_seq_len": max_seq_len or T,
                  "attention": {"kind": kind, "n_head": n_head, **({"head_dim": head_dim} if head_dim else {}),
                                "position": position, **attention},
                  "mlp": {"kind": mlp, "hidden": hidden}, "norm": {"kind": norm, "eps": norm_eps},
                  "tie_embeddings": tie, "bias": bias, **({"logit_softcap": softcap} if softcap else {})},
        "data": {"train": "../data/train.bin", "val": "../data/val.bin", "shuffle": False},
        "optim": {"kind": "adamw", "lr": lr, "betas": list(betas), "eps": adam_eps, "weight_decay": 0.1, "grad_clip": clip,
                  "schedule": {"kind": schedule, "warmup_steps": warmup, "min_lr_ratio": low, **wsd}},
        "train": {"steps": 12, "seq_len": T, "micro_batch": batch, "grad_accum": accum, "seed": 1,
                  **({"z_loss": z_loss} if z_loss else {})},
        "eval": {"every_steps": every, "max_sequences": 0},
        "checkpoint": {"every_steps": 0, "keep_last": 1, "keep_every": 0},
        "runtime": {"device": "cpu", "precision": "fp32"},
    }


CASES = {
    "mha_rope": make_case("mha", 4, 6, "rope"),
    "mha_learned": make_case("mha", 3, 8, "learned", d=20, T=16, max_seq_len=21, mlp="gelu", norm="layernorm", bias=True,
                             schedule="linear", clip=0, batch=3, accum=2),
    "mha_none": make_case("mha", 2, 7, "none", d=16, vocab=64, T=21, mlp="relu2", tie=False, schedule="constant", warmup=0,
                          clip=100.0, batch=6, accum=3, every=0),  # reads past the last sample: the stream wraps
    "mqa_rope": make_case("mqa", 5, 6, "rope", tie=False, bias=True, schedule="wsd", decay=0.3, rope_base=500, every=4),
    "mqa_learned": make_case("mqa", 4, 10, "learned", d=20, mlp="gelu", norm="layernorm", schedule="linear", low=0.0),
    "gqa_rope": make_case("gqa", 6, 4, "rope", n_kv_head=2, n_layer=3, mlp="relu2", vocab=64, schedule="cosine", low=0.25,
                          betas=(0.8, 0.99), adam_eps=1e-6, clip=0.5),
    "gqa_learned": make_case("gqa", 4, 5, "learned", n_kv_head=2, d=18, T=19, norm="layernorm", norm_eps=1e-6, bias=True,
                             tie=False, schedule="wsd", decay=0.5, warmup=2, clip=50.0),
    "sas_k5": make_case("sas", 4, 6, "rope", **sas_block(12, 10, 5)),
    "sas_k3_learned": make_case("sas", 2, 10, "learned", d=18, mlp="gelu", norm="layernorm", bias=True, schedule="linear",
                                T=16, batch=3, accum=2, **sas_block(6, 16, 3, "heads", "features", "values")),
    "sas_k1_none": make_case("sas", 3, 7, "none", n_layer=1, vocab=64, mlp="relu2", tie=False, schedule="constant", clip=100.0,
                             **sas_block(6, 4, 1)),
    "sas_heads": make_case("sas", 4, 6, "rope", d=22, bias=True, **sas_block(8, 6, 3, "heads")),
    "sas_features": make_case("sas", 4, 5, "rope", norm_eps=1e-6, tie=False, **sas_block(4, 8, 5, "features")),
    "sas_heads_features": make_case("sas", 3, 6, "learned", d=20, max_seq_len=32, norm="layernorm", bias=True, every=4,
                                    schedule="wsd", decay=0.25, **sas_block(9, 10, 5, "heads", "features")),
    "sas_heads_values": make_case("sas", 4, 6, "rope", mlp="gelu", rope_base=100, clip=0, **sas_block(12, 6, 5, "heads", "values")),
    "sas_same_heads": make_case("sas", 4, 6, "none", bias=True, **sas_block(4, 6, 1, "heads", "values")),
    "gqa_sas": make_case("gqa", 4, 6, "rope", n_kv_head=2, batch=2, accum=3, **sas_block(8, 10, 3)),
    "gqa_sas_heads_features": make_case("gqa", 6, 4, "rope", n_kv_head=2, bias=True, schedule="linear", mlp="relu2",
                                        **sas_block(12, 6, 5, "heads", "features")),
    "gqa_sas_features": make_case("gqa", 6, 4, "learned", n_kv_head=3, d=20, T=18, norm="layernorm", every=0,
                                  **sas_block(6, 10, 1, "features")),
    "mqa_sas": make_case("mqa", 4, 6, "rope", d=20, T=18, schedule="wsd", decay=0.3, bias=True, **sas_block(8, 8, 5)),
    "mqa_sas_heads": make_case("mqa", 3, 8, "none", tie=False, clip=0.5, **sas_block(6, 8, 3, "heads")),
    "mha_window": make_case("mha", 4, 6, "rope", T=19, window={"size": 5, "pattern": "S"}),
    "mha_window_1": make_case("mha", 2, 7, "learned", d=16, norm="layernorm", window={"size": 1, "pattern": "SL"}),
    "mqa_window_beyond": make_case("mqa", 4, 6, "rope", window={"size": 40, "pattern": "S"}),  # as without
    "gqa_window": make_case("gqa", 6, 4, "rope", n_kv_head=2, n_layer=4, T=21, bias=True, window={"size": 4, "pattern": "SSL"}),
    "sas_window": make_case("sas", 4, 6, "rope", T=23, **sas_block(8, 10, 3), window={"size": 6}),
    "sas_window_heads": make_case("sas", 3, 6, "rope", n_layer=3, T=70, batch=2, every=0, **sas_block(6, 6, 3, "heads"),
                                  window={"size": 33, "pattern": "LS"}),
}


def make_tokens(count, seed, vocab=61):
    """A walk a few steps can learn from: half the time the token's fixed successor, else a draw that favours small ids."""
    state, tokens = seed, [0]

    def below(n):  # Knuth's MMIX generator
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        return (state >> 33) % n

    while len(tokens) < count:
        tokens.append((tokens[-1] * 7 + 3) % vocab if below(2) else below(below(vocab) + 1))
    return tokens


def write_fixtures(out, only):
    seeds = {name: seed for seed, name in enumerate(CASES, start=1)}
    variants = {name: make_case(**{"kind": kind, **case}) for kind, v in VARIANTS.items() for name, case in v["CASES"].items()}
    cases = {**CASES, **variants}
    if only and only not in cases:
        sys.exit(f"--case {only}: unknown; there are {', '.join(cases)}")
    (out / "data").mkdir(parents=True, exist_ok=True)
    write_shard(out / "data" / "train.bin", make_tokens(3001, seed=1))
    write_shard(out / "data" / "val.bin", make_tokens(500, seed=2))
    for name, config in cases.items():
        seed = seeds.get(name, zlib.crc32(name.encode()))  # of a variant's case: no matter what others there are
        if only in (None, name):
            folder = out / name
            folder.mkdir(exist_ok=True)
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            resolved = read_config(folder / "config.json")
            params = draw_parameters(resolved.model, seed)
            write_safetensors(folder / "model.safetensors", params)
            (folder / "expected.json").write_text(format_result(run(resolved, params, torch.float64)))


def main():
    parser = argparse.ArgumentParser(description="Golden numbers from an independent float64 PyTorch reference.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fixtures; with --config, the result's file")
    parser.add_argument("--case", help="write this fixture only")
    parser.add_argument("--config", type=Path, help="run this config instead of writing fixtures")
    parser.add_argument("--init", type=Path, help="folder with the model.safetensors to start from (with --config)")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="arithmetic (with --config)")
    args = parser.parse_args()
    if (args.config is None) != (args.init is None):
        parser.error("--config and --init go together")
    torch.set_num_threads(1)
    if args.config is None:
        write_fixtures(args.out, args.case)
    else:
        config = read_config(args.config)
        params = read_safetensors(args.init / "model.safetensors", parameter_shapes(config.model))
        args.out.write_text(format_result(run(config, params, getattr(torch, args.dtype))))


if __name__ == "__main__":
    main()
