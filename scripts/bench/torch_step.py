#!/usr/bin/env python3
"""The CPU yardstick: full fp32 training steps of a saslm config in PyTorch, as a good PyTorch user would write them.

    torch_step.py CONFIG [--threads 2] [--steps 20] [--warmup 3] [--json]

A step is grad_accum forward and backward passes, the gradient clip and AdamW, on random tokens at the config's shapes.
SAS is the authors' formulation: conv1d chains over [B*T, heads, features], W_O on every head group, then the mean.
Where the installed PyTorch has them it takes F.scaled_dot_product_attention and the fused AdamW for CPU; before those
(2.0, 2.4), baddbmm with the mask as addend, softmax, bmm. Parameters carry saslm's tensor names.
Figures compare only with figures measured beside them on the same machine (compare_torch.sh does that).
"""
import argparse
import ctypes
import json
import math
import os
import statistics
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times PyTorch CPU training steps of a saslm config.")
    parser.add_argument("config")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def prepare_process(threads):
    """What PyTorch's tuning advice comes to on a CPU; both must happen before torch is loaded.

    A BLAS with threads of its own (OpenBLAS) and OpenMP's spinning ones fight for the cores unless the latter sleep while
    idle. glibc returns every large tensor to the kernel, so each step would fault its activations in
    again page by page (about 45,000 faults a step at bench_cpu_mha); freed memory is kept instead, as jemalloc would.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mmap_max, trim_threshold = -4, -1
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2 ** 31 - 1)


if __name__ == "__main__":
    args = parse_arguments()
    prepare_process(args.threads)

import torch
import torch.nn as nn
import torch.nn.functional as F


def rotate(x, cos, sin):  # [B, H, T, E], half-split pairs
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def causal_attention(q, k, v, mask):
    """[B, H, T, E], [B, H, T, E], [B, H, T, D] -> [B, H, T, D]; mask [T, T] is 0 and -inf."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    B, H, T, E = q.shape
    q, k, v = (x.reshape(B * H, T, x.shape[-1]) for x in (q, k, v))
    score = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(E))
    return torch.bmm(score.softmax(-1), v).view(B, H, T, -1)


class RmsNorm(nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def make_norm(m):
    d, eps = m["d_model"], m.get("norm", {}).get("eps", 1e-5)
    return nn.LayerNorm(d, eps=eps) if m.get("norm", {}).get("kind") == "layernorm" else RmsNorm(d, eps)


class Simulation(nn.Module):
    def __init__(self, heads, sim_heads, width, sim_width, taps, conv, proj):
        super().__init__()
        self.conv, self.proj = conv, proj
        if conv:
            self.conv1 = nn.Conv1d(heads, sim_heads, taps, padding=taps // 2)
            self.conv2 = nn.Conv1d(sim_heads, sim_heads, taps, padding=taps // 2)
        if proj:
            self.proj1, self.proj2 = nn.Linear(width, sim_width), nn.Linear(sim_width, sim_width)

    def forward(self, x):  # [B, T, heads, width]
        B, T, H, D = x.shape
        x = x.reshape(B * T, H, D)
        if self.conv:
            x = self.conv1(x)
            x = x + self.conv2(x.relu())
        if self.proj:
            x = self.proj1(x)
            x = x + self.proj2(x.relu())
        return x.view(B, T, x.shape[1], x.shape[2])


class Attention(nn.Module):
    def __init__(self, m):
        super().__init__()
        a, d, bias = m["attention"], m["d_model"], m.get("bias", False)
        self.H, self.D = a["n_head"], a["head_dim"]
        self.G = {"mqa": 1, "gqa": a.get("n_kv_head")}.get(a["kind"], self.H)
        self.q = nn.Linear(d, self.H * self.D, bias=bias)
        self.k = nn.Linear(d, self.G * self.D, bias=bias)
        self.v = nn.Linear(d, self.G * self.D, bias=bias)
        self.o = nn.Linear(self.H * self.D, d, bias=bias)
        self.sas, width = None, self.D
        if "sas" in a:
            on = a["sas"].get("simulate", ["heads", "features", "values"])
            conv, proj, taps = "heads" in on, "features" in on, a["sas"].get("kernel_size", 5)
            sim_heads = a["sas"]["n_sim_head"] if conv else self.H
            width = a["sas"]["sim_head_dim"] if proj else self.D
            self.values = conv and "values" in on
            self.sas = nn.ModuleDict({
                name: Simulation(heads, sim_heads, self.D, width, taps, conv, proj and name != "v")
                for name, heads in (("q", self.H), ("k", self.G), ("v", self.G)) if name != "v" or self.values})
        T = m["max_seq_len"]
        self.register_buffer("mask", torch.full((T, T), -math.inf).triu_(1), persistent=False)
        self.rope = a.get("position", "rope") == "rope"
        if self.rope:
            speed = a.get("rope_base", 10000) ** (torch.arange(0, width, 2) / -width)
            angle = torch.outer(torch.arange(T), speed)
            self.register_buffer("cos", angle.cos(), persistent=False)
            self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x):
        B, T, _ = x.shape
        q = self.q(x).view(B, T, self.H, self.D)
        k, v = (f(x).view(B, T, self.G, self.D) for f in (self.k, self.v))
        if self.sas is not None:
            q, k = self.sas["q"](q), self.sas["k"](k)
            v = self.sas["v"](v) if self.values else v.repeat_interleave(self.H // self.G, 2).repeat(1, 1, q.shape[2] // self.H, 1)
        heads = q.shape[2]
        k, v = (y if y.shape[2] == heads else y.repeat_interleave(heads // y.shape[2], 2) for y in (k, v))
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))
        if self.rope:
            q, k = rotate(q, self.cos[:T], self.sin[:T]), rotate(k, self.cos[:T], self.sin[:T])
        out = causal_attention(q, k, v, self.mask[:T, :T]).transpose(1, 2)
        if heads == self.H:
            return self.o(out.reshape(B, T, -1))
        return self.o(out.reshape(B, T, heads // self.H, self.H * self.D)).mean(2)


class Mlp(nn.Module):
    def __init__(self, m):
        super().__init__()
        d, hidden, bias = m["d_model"], m["mlp"]["hidden"], m.get("bias", False)
        self.kind = m["mlp"].get("kind", "swiglu")
        if self.kind == "swiglu":
            self.gate = nn.Linear(d, hidden, bias=bias)
        self.up, self.down = nn.Linear(d, hidden, bias=bias), nn.Linear(hidden, d, bias=bias)

    def forward(self, x):
        if self.kind == "swiglu":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        return self.down(F.gelu(self.up(x), approximate="tanh") if self.kind == "gelu" else self.up(x).relu().square())


class Block(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.attn_norm, self.attn, self.mlp_norm, self.mlp = make_norm(m), Attention(m), make_norm(m), Mlp(m)

    def forward(self, x):
        x = x + self.attn(self.attn_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.embed = nn.Embedding(m["vocab_size"], m["d_model"])
        learned = m["attention"].get("position", "rope") == "learned"
        self.pos_embed = nn.Embedding(m["max_seq_len"], m["d_model"]) if learned else None
        self.layers = nn.ModuleList(Block(m) for _ in range(m["n_layer"]))
        self.final_norm = make_norm(m)
        self.head = None if m.get("tie_embeddings", True) else nn.Linear(m["d_model"], m["vocab_size"], bias=False)

    def forward(self, inputs, targets):
        x = self.embed(inputs)
        if self.pos_embed is not None:
            x = x + self.pos_embed.weight[:inputs.shape[1]]
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.final_norm(x), (self.head or self.embed).weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def initialise(model):
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)


def make_optimizer(model, optim):
    options = {"lr": optim.get("lr", 6e-4), "betas": tuple(optim.get("betas", (0.9, 0.95))), "eps": optim.get("eps", 1e-8)}
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": optim.get("weight_decay", 0.1)},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    try:
        return torch.optim.AdamW(groups, fused=True, **options)
    except (TypeError, RuntimeError):  # no fused AdamW for CPU in this version
        return torch.optim.AdamW(groups, **options)


def time_steps(config, warmup, steps):
    """Tokens of a step, loss of the last one, seconds of every timed one."""
    m, train, optim = config["model"], config["train"], config.get("optim", {})
    B, T, clip = train.get("micro_batch", 8), train.get("seq_len", m["max_seq_len"]), optim.get("grad_clip", 1.0)
    accum = train.get("grad_accum") or train.get("global_batch", B) // B
    model = Transformer(m)
    initialise(model)
    optimizer = make_optimizer(model, optim)
    seconds = []
    for step in range(warmup + steps):
        batches = [torch.randint(m["vocab_size"], (B, T + 1)) for _ in range(accum)]
        start = time.perf_counter()
        for batch in batches:
            loss = model(batch[:, :-1], batch[:, 1:])
            (loss / accum).backward()
        if clip > 0:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step >= warmup:
            seconds.append(time.perf_counter() - start)
    return B * T * accum, loss.item(), seconds


def main():
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    with open(args.config) as file:
        config = json.load(file)
    tokens, loss, seconds = time_steps(config, args.warmup, args.steps)
    median = statistics.median(seconds)
    result = {"config": args.config, "torch": torch.__version__, "threads": args.threads, "steps": args.steps, "loss": loss,
              "step_ms": 1e3 * median, "tokens_per_s": tokens / median,
              "tokens_per_s_min": tokens / max(seconds), "tokens_per_s_max": tokens / min(seconds)}
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{args.config}: {result['tokens_per_s']:.0f} tokens/s (median of {args.steps} steps, "
              f"{result['tokens_per_s_min']:.0f} to {result['tokens_per_s_max']:.0f}), {result['step_ms']:.1f} ms a step, "
              f"loss {loss:.4f}, torch {torch.__version__}, {args.threads} threads")


if __name__ == "__main__":
    main()
