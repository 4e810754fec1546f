#!/usr/bin/env python3
"""The baseline: full training steps of saslm configs in PyTorch, as a good PyTorch user would write them.

    torch_step.py CONFIG... [--device auto|cpu|cuda] [--modes eager,compile] [--forms authors,mean-first]
                  [--precision fp32|autocast|bf16,...] [--seq-len T] [--micro-batch N] [--steps 20] [--json]
    torch_step.py --check FIXTURE...      the losses of tests/golden fixtures: exit 1 where one is not that of the fixture

A step is grad_accum forward and backward passes, the gradient clip and AdamW, on random tokens at the config's shapes.

forms       of SAS: `authors` puts every head group through W_O and takes the mean after it; `mean-first` takes it before,
            which is the same function for less work. Both run the conv1d chains over [B*T, heads, features].
precision   fp32; autocast: bf16 over fp32 weights; bf16: bf16 weights and gradients, fp32 masters and moments
attention   F.scaled_dot_product_attention where this PyTorch has it (2.0); what it chose is reported. Before: baddbmm with
            the mask as addend, softmax, bmm.
compile     torch.compile of the whole loss, where this PyTorch has it (2.0)

On a GPU the vocabulary is padded to a multiple of 128, AdamW is the fused one, and a micro-batch which does not fit is
halved until it does, at the same tokens a step. Projections, parameters and their names are those of make_golden.py.
Figures compare only with figures measured beside them on the same machine; speed_table.py and compare_torch.sh do that.
"""
import argparse
import ctypes
import gc
import json
import math
import os
import resource
import statistics
import sys
import time
from pathlib import Path


def parse_arguments():
    def choices(*known):
        def parse(text):
            words = text.split(",")
            if not set(words) <= set(known):
                raise argparse.ArgumentTypeError(f"wanted some of {','.join(known)}, got {text}")
            return words
        return parse

    parser = argparse.ArgumentParser(description="Times PyTorch training steps of saslm configs.")
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--modes", type=choices("eager", "compile"), help="default: eager on the CPU, both on a GPU")
    parser.add_argument("--forms", type=choices("authors", "mean-first"), help="default: authors on the CPU, both on a GPU")
    parser.add_argument("--precision", type=choices("fp32", "autocast", "bf16"), help="default: fp32 on the CPU, autocast on a GPU")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--seq-len", type=int, help="default: the config's")
    parser.add_argument("--micro-batch", type=int, help="default: the config's; tokens a step stay as they are")
    parser.add_argument("--steps", type=int, default=20, help="timed steps")
    parser.add_argument("--warmup", type=int, default=3, help="steps before the clock starts")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="compare losses with fixtures instead")
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
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import make_golden as golden

# --------------------------------------------------------------------------------------------------------------- model

HAS_SDPA = hasattr(F, "scaled_dot_product_attention")
VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


def causal_attention(q, k, v, mask):
    """[B, H, T, E], [B, G, T, E], [B, G', T, D] -> [B, H, T, D]; mask [T, T] is 0 and -inf."""
    heads = q.shape[1]
    grouped = {"enable_gqa": True} if HAS_SDPA and VERSION >= (2, 5) and k.shape[1] != heads else {}
    if not grouped:
        k, v = (y if y.shape[1] == heads else y.repeat_interleave(heads // y.shape[1], 1) for y in (k, v))
    if HAS_SDPA:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)
    B, H, T, E = q.shape
    q, k, v = (x.reshape(B * H, T, x.shape[-1]) for x in (q, k, v))
    score = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(E))
    return torch.bmm(score.softmax(-1), v).view(B, H, T, -1)


class Model:
    """The loss of a saslm model as a function of its parameters p, by checkpoint name."""

    def __init__(self, m, T, mean_first, device):
        a = self.a = m.attention
        if a.window:
            raise ValueError("window: the reference's attention is causal alone")
        if a.moh is not None:
            raise ValueError("moh: the reference's gates wait for the device at every layer, which is no yardstick of speed")
        self.m, self.mean_first = m, mean_first
        projection = golden.PROJECTIONS[a.kind]
        self.project = projection.project
        width = projection.streams(m)["q"][1] if a.kind != "mla" or a.sas else a.mla["rope_dim"]
        width = a.sas.sim_head_dim if a.sas else width  # of what rope turns
        speed = a.rope_base ** (torch.arange(0, width - width % 2, 2, dtype=torch.float64) / -width)
        angle = torch.outer(torch.arange(T, dtype=torch.float64), speed)[:, None]
        self.cos, self.sin = angle.cos().float().to(device), angle.sin().float().to(device)
        self.mask = None if HAS_SDPA else torch.full((T, T), -math.inf, device=device).triu_(1)

    def turn(self, y):  # [B, T, any, E], half-split pairs
        if self.a.position != "rope":
            return y
        cos, sin = self.cos.to(y.dtype), self.sin.to(y.dtype)
        left, right = y.chunk(2, -1)
        return torch.cat([left * cos - right * sin, left * sin + right * cos], -1)

    def norm(self, p, name, x):
        weight = p[name + ".weight"]
        if self.m.norm.kind == "layernorm":
            return F.layer_norm(x, weight.shape, weight, p[name + ".bias"], self.m.norm.eps)
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, weight.shape, weight.to(x.dtype), self.m.norm.eps)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.m.norm.eps) * weight

    def simulate(self, p, at, q, k, v):
        sas, (B, T, H, _) = self.a.sas, q.shape
        if sas.heads:
            q, k = golden.simulate_heads(p, at + "q", q), golden.simulate_heads(p, at + "k", k)
            if sas.values:
                v = golden.simulate_heads(p, at + "v", v)
            else:  # simulated head h reads what real head h mod H would
                v = v.repeat_interleave(H // v.shape[2], 2).repeat(1, 1, sas.n_sim_head // H, 1)
        if sas.features:
            q, k = golden.simulate_features(p, at + "q", q), golden.simulate_features(p, at + "k", k)
        return self.turn(q), self.turn(k), v

    def attention(self, p, at, x):
        H, turn = self.a.n_head, (lambda y: y) if self.a.sas else self.turn
        q, k, v = self.project(p, self.m, at, x, turn)
        if self.a.sas:
            q, k, v = self.simulate(p, at + "sas.", q, k, v)
        out = causal_attention(*(y.transpose(1, 2) for y in (q, k, v)), self.mask).transpose(1, 2)
        groups = out.shape[2] // H
        if groups == 1:
            return golden.linear(p, at + "o", out.flatten(2))
        out = out.unflatten(2, (groups, H)).flatten(3)  # [B, T, groups, H * D]
        if self.mean_first:
            return golden.linear(p, at + "o", out.mean(2))
        return golden.linear(p, at + "o", out).mean(2)

    def mlp(self, p, at, x):
        kind, up = self.m.mlp.kind, golden.linear(p, at + "up", x)
        if kind == "swiglu":
            hidden = F.silu(golden.linear(p, at + "gate", x)) * up
        else:
            hidden = F.gelu(up, approximate="tanh") if kind == "gelu" else up.relu().square()
        return golden.linear(p, at + "down", hidden)

    def loss(self, p, inputs, targets):
        x = F.embedding(inputs, p["embed.weight"])
        if self.a.position == "learned":
            x = x + p["pos_embed.weight"][:inputs.shape[1]]
        for i in range(self.m.n_layer):
            at = f"layers.{i}."
            x = x + self.attention(p, at + "attn.", self.norm(p, at + "attn_norm", x))
            x = x + self.mlp(p, at + "mlp.", self.norm(p, at + "mlp_norm", x))
        logits = F.linear(self.norm(p, "final_norm", x), p["embed.weight" if self.m.tie_embeddings else "head.weight"])
        logits = golden.VARIANTS["logits"]["capped"](self.m, logits.float())
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def flops_per_token(m, T):
    """As `saslm plan` counts: 3 * forward, 2 per multiply-add of every product, the causal half of attention."""
    a, streams = m.attention, golden.PROJECTIONS[m.attention.kind].streams(m)
    H, heads = a.n_head, a.sas.n_sim_head if a.sas else a.n_head
    macs = 0

    def lines(owner, tensor):  # of a simulation's input that a weight meets: features for convolutions, heads for linears
        if tensor.startswith("conv"):
            return streams[owner][1]
        return 1 if not tensor.startswith("proj") else heads if a.sas.heads else streams[owner][0]

    for name, shape in golden.parameter_shapes(m).items():
        if not name.startswith("layers.0."):
            continue
        *_, owner, tensor, last = name.split(".")
        if last == "weight" and "norm" not in tensor and not tensor.endswith("_embed"):
            macs += lines(owner, tensor) * math.prod(shape)
    if a.kind == "tpa":
        macs += sum(a.tpa[f"{name}_rank"] * H * a.head_dim for name in "qkv")
    width = a.sas.sim_head_dim if a.sas else streams["q"][1]
    macs += heads * (width + streams["v"][1]) * T / 2
    return 6 * (m.n_layer * macs + m.vocab_size * m.d_model)


# ------------------------------------------------------------------------------------------------------------ training

class Weights:
    """fp32 masters under AdamW, and what the model computes with: the masters themselves, or bf16 copies of them."""

    def __init__(self, shapes, optim, device, copies):
        def draw(name, shape):
            if len(shape) > 1:
                return torch.randn(shape, device=device) * 0.02
            return torch.full(shape, float("norm" in name and name.endswith(".weight")), device=device)

        self.masters = {name: draw(name, shape).requires_grad_() for name, shape in shapes.items()}
        self.used = {name: w.detach().bfloat16().requires_grad_() for name, w in self.masters.items()} if copies else self.masters
        self.clip = optim.grad_clip
        groups = [{"params": [w for w in self.masters.values() if (w.dim() >= 2) == decays], "weight_decay": decay}
                  for decays, decay in ((True, optim.weight_decay), (False, 0.0))]
        options = {"lr": optim.lr, "betas": tuple(optim.betas), "eps": optim.eps}
        try:
            self.optimizer = torch.optim.AdamW(groups, fused=True, **options)
        except (TypeError, RuntimeError):  # no fused AdamW for this device in this version
            self.optimizer = torch.optim.AdamW(groups, **options)

    def update(self):
        if self.used is not self.masters:
            for name, w in self.used.items():
                self.masters[name].grad, w.grad = w.grad.float(), None
        if self.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.masters.values(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.used is not self.masters:
            with torch.no_grad():
                torch._foreach_copy_(list(self.used.values()), list(self.masters.values()))


def time_steps(config, variant, device, micro_batch, steps, warmup):
    """Loss of the last step, milliseconds of every timed one."""
    m, train, cuda = config.model, config.train, device == "cuda"
    T, accum = train.seq_len, train.tokens_per_step // (micro_batch * train.seq_len)
    model = Model(m, T, variant["form"] == "mean-first", device)
    shapes = golden.parameter_shapes(m)
    for name in ("embed.weight", "head.weight"):
        if cuda and name in shapes:
            shapes[name] = [-(-m.vocab_size // 128) * 128, m.d_model]
    weights = Weights(shapes, config.optim, device, variant["precision"] == "bf16")
    loss_of = torch.compile(model.loss) if variant["mode"] == "compile" else model.loss
    wait = torch.cuda.synchronize if cuda else lambda: None
    milliseconds = []
    for step in range(warmup + steps):
        batches = torch.randint(m.vocab_size, (accum, micro_batch, T + 1), device=device)
        wait()
        start = time.perf_counter()
        for batch in batches:
            with torch.autocast(device, torch.bfloat16, enabled=variant["precision"] == "autocast"):
                loss = loss_of(weights.used, batch[:, :-1], batch[:, 1:])
            (loss / accum).backward()
        weights.update()
        wait()
        if step >= warmup:
            milliseconds.append(1e3 * (time.perf_counter() - start))
    return loss.item(), milliseconds


def attention_used(m, T, device, dtype):
    """Which of its kernels scaled_dot_product_attention takes at this model's shapes."""
    if not HAS_SDPA:
        return "bmm, softmax, bmm"
    from torch.nn.attention import SDPBackend
    a, streams = m.attention, golden.PROJECTIONS[m.attention.kind].streams(m)
    heads, width = (a.sas.n_sim_head, a.sas.sim_head_dim) if a.sas else (a.n_head, streams["q"][1])
    shared = streams["k"][0] if not a.sas and VERSION >= (2, 5) else heads
    q, k, v = (torch.randn(2, h, T, w, device=device, dtype=dtype, requires_grad=True)
               for h, w in ((heads, width), (shared, width), (shared, streams["v"][1])))
    try:
        choice = torch._fused_sdp_choice(q, k, v, is_causal=True, **({"enable_gqa": True} if shared != heads else {}))
        return SDPBackend(choice).name.lower()
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        return f"unknown ({type(error).__name__})"


def time_variant(config, path, variant, device, args):
    """One row, with the fields of `saslm bench step --json` and what PyTorch adds; "error" where it could not run."""
    m, train, cuda = config.model, config.train, device == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads"
    flops = flops_per_token(m, train.seq_len)
    row = {"config": path, "kind": m.attention.kind, "device": f"{device}, {name}, {variant['precision']}",
           "torch": torch.__version__, **variant,
           "parameters": sum(math.prod(shape) for shape in golden.parameter_shapes(m).values())}
    if variant["mode"] == "compile" and not hasattr(torch, "compile"):
        return {**row, "error": "this PyTorch has no torch.compile (2.0)"}
    micro_batch, out_of_memory = train.micro_batch, getattr(torch.cuda, "OutOfMemoryError", MemoryError)
    while True:
        try:
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            loss, ms = time_steps(config, variant, device, micro_batch, args.steps, args.warmup)
            break
        except out_of_memory as error:
            if micro_batch == 1:
                return {**row, "error": str(error)[:200]}
        except Exception as error:  # what compile or a kernel cannot do is a result too
            return {**row, "error": f"{type(error).__name__}: {error}"[:300]}
        micro_batch = next(b for b in range(micro_batch // 2, 0, -1) if train.micro_batch % b == 0)
    median, dtype = statistics.median(ms), torch.float32 if variant["precision"] == "fp32" else torch.bfloat16
    tokens_per_s = 1e3 * train.tokens_per_step / median
    memory = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**row, "attention": attention_used(m, train.seq_len, device, dtype), "micro_batch": micro_batch,
            "tokens_per_step": train.tokens_per_step, "tokens_per_s": tokens_per_s, "step_ms": median,
            "step_ms_min": min(ms), "step_ms_max": max(ms), "steps": len(ms), "flops_per_token": flops,
            "gflop_per_s": flops * tokens_per_s / 1e9, "memory_bytes": memory, "loss": loss}


def has_groups(m):
    """Groups of simulated heads to take a mean over."""
    return m.attention.sas is not None and m.attention.sas.n_sim_head > m.attention.n_head


def read(path, args):
    config = golden.read_config(path)
    train = config.train
    if train.z_loss:
        sys.exit(f"{path}: train.z_loss: the reference's loss is the cross-entropy alone; set it to 0")
    train.seq_len = args.seq_len or train.seq_len
    config.model.max_seq_len = max(config.model.max_seq_len, train.seq_len)
    train.tokens_per_step = train.micro_batch * train.grad_accum * train.seq_len
    train.micro_batch = args.micro_batch or train.micro_batch
    if train.tokens_per_step % (train.micro_batch * train.seq_len):
        sys.exit(f"{path}: a micro-batch of {train.micro_batch} sequences does not divide the step's "
                 f"{train.tokens_per_step // train.seq_len}")
    return config


def variants_of(config, device, args):
    cuda = device == "cuda"
    for form in (args.forms or (["authors", "mean-first"] if cuda else ["authors"])) if has_groups(config.model) else ["-"]:
        for precision in args.precision or (["autocast"] if cuda else ["fp32"]):
            for mode in args.modes or (["eager", "compile"] if cuda else ["eager"]):
                yield {"form": form, "mode": mode, "precision": precision}


def show(row):
    what = ", ".join(word for word in (row["form"], row["mode"], row["precision"]) if word != "-")
    if "error" in row:
        return f"{row['config']} ({what}): {row['error']}"
    return (f"{row['config']} ({what}): {row['tokens_per_s']:.0f} tokens/s   step {row['step_ms']:.1f} ms (median of "
            f"{row['steps']}, {row['step_ms_min']:.1f} to {row['step_ms_max']:.1f})   {row['gflop_per_s']:.0f} GFLOP/s   "
            f"attention: {row['attention']}   memory {row['memory_bytes'] / 2 ** 30:.2f} GiB   loss {row['loss']:.4f}   "
            f"torch {row['torch']}, {row['device']}")


def check(fixtures):
    """Each fixture's first loss, from its weights and its first step's samples, by both forms of SAS, in fp32."""
    wrong = 0
    for folder in map(Path, fixtures):
        config = golden.read_config(folder / "config.json")
        m, train = config.model, config.train
        if m.attention.moh or m.attention.window:
            print(f"{folder.name}: moh and window are not timed, left out")
            continue
        p = golden.read_safetensors(folder / "model.safetensors", golden.parameter_shapes(m))
        samples = golden.read_samples(config, config.data["train"])[:train.micro_batch * train.grad_accum]
        expected = json.loads((folder / "expected.json").read_text())["steps"][0]["loss"]
        for form in ("authors", "mean-first") if has_groups(m) else ("-",):
            loss = Model(m, train.seq_len, form == "mean-first", "cpu").loss(p, samples[:, :-1], samples[:, 1:]).item()
            good = abs(loss - expected) < 1e-5 * expected  # fp32 against the fixture's float64
            wrong += not good
            print(f"{folder.name} {form}: {loss:.7f}, expected {expected:.7f}{'' if good else '   WRONG'}")
    return 1 if wrong else 0


def main():
    if args.check:
        return check(args.configs)
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if args.device == "auto" else args.device
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    rows = []
    for path in args.configs:
        config = read(path, args)
        for variant in variants_of(config, device, args):
            rows.append(time_variant(config, path, variant, device, args))
            if hasattr(torch, "compile"):
                torch.compiler.reset() if hasattr(torch, "compiler") else torch._dynamo.reset()
            print(show(rows[-1]), file=sys.stderr if args.json else sys.stdout, flush=True)
    if args.json:
        print(json.dumps(rows[0] if len(rows) == 1 else {"runs": rows}))
    return 1 if all("error" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
