"""A model that saslm trained, for transformers: every kind of attention saslm knows, as plain PyTorch.

    AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)

config.model is the "model" block of saslm's own config.json, and the weights keep saslm's names, so that saslm reads
this folder too. A cache, with transformers 4.46 or newer, holds keys and values as attention reads them: under SAS the
simulated ones. With labels, loss is only the cross-entropy, without moh's balance loss. What forward and generate do not
support they refuse with an error.

Shapes: B batch, T time, H heads, G key/value heads, D head width; Hs and Ds the simulated ones.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"  # from 5.24 on; before


class SaslmConfig(PretrainedConfig):
    """num_key_value_heads and head_dim give the shape that a static cache reserves, for keys and for values."""

    model_type = "saslm"

    @property
    def num_key_value_heads(self):
        a = self.model["attention"]
        own = {"mqa": 1, "gqa": a.get("n_kv_head")}.get(a["kind"], a["n_head"])
        return a["sas"]["n_sim_head"] if "sas" in a else own

    @property
    def head_dim(self):
        a = self.model["attention"]
        mla = a.get("mla")
        key, value = (mla["nope_dim"] + mla["rope_dim"], mla["v_dim"]) if mla else (a["head_dim"], a["head_dim"])
        return max(a["sas"]["sim_head_dim"] if "sas" in a else key, value)


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight


def make_norm(model):
    kind, eps = model["norm"]["kind"], model["norm"]["eps"]
    return RmsNorm(model["d_model"], eps) if kind == "rmsnorm" else nn.LayerNorm(model["d_model"], eps=eps)


def linear(inputs, outputs, bias=False):
    return nn.Linear(inputs, outputs, bias=bias)


class Mlp(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.kind = model["mlp"]["kind"]
        sizes = model["d_model"], model["mlp"]["hidden"], model["bias"]
        if self.kind == "swiglu":
            self.gate = linear(*sizes)
        self.up, self.down = linear(*sizes), linear(sizes[1], sizes[0], sizes[2])

    def forward(self, x):
        up = self.up(x)
        if self.kind == "swiglu":
            hidden = F.silu(self.gate(x)) * up
        elif self.kind == "gelu":
            hidden = F.gelu(up, approximate="tanh")
        else:
            hidden = F.relu(up).square()
        return self.down(hidden)


class Rotation:
    """Rotates [B, T, any, E]: the pair (i, i + E/2) by position * base^(-2i/E). E is the same in all layers."""

    def __init__(self, base, positions):
        self.base, self.positions, self.table = base, positions, None  # [B, T]

    def __call__(self, x):
        half = x.shape[-1] // 2
        if self.table is None:  # in float64, which some devices lack
            speed = self.base ** (-torch.arange(half, dtype=torch.float64, device="cpu") / half)
            angle = self.positions.cpu()[..., None, None] * speed
            self.table = angle.cos().float(), angle.sin().float()
        cos, sin = self.table = [y.to(x.device) for y in self.table]
        a, b = x[..., :half].float(), x[..., half:].float()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


def unturned(x):
    return x


class Hidden:
    """Which of S keys each query must not look at: [B, 1, T, S], true for those after it, for those before the last
    `window` (None: there is none), for padding, and for the places of a cache that are still empty. attention_mask
    [B, start + T]; query t stands at place start + t. S is the same in all layers."""

    def __init__(self, attention_mask, start):
        self.padding, self.start, self.tables = attention_mask == 0, start, {}

    def __call__(self, S, window):
        if window not in self.tables:
            (B, end), device = self.padding.shape, self.padding.device
            keys, queries = torch.arange(S, device=device), torch.arange(self.start, end, device=device)[:, None]
            unseen = keys > queries if window is None else (keys > queries) | (keys <= queries - window)
            padding = F.pad(self.padding, (0, S - end), value=True)
            self.tables[window] = unseen | padding[:, None, None]
        return self.tables[window]


def length_of(cache):
    return 0 if cache is None else int(cache.get_seq_length())


def keep(cache, layer, start, k, v):
    """Adds k and v [B, T, heads, width] to the cache, after its `start` tokens; returns all of it. A static cache has
    one number of heads and one width: config.num_key_value_heads and head_dim."""
    widths = k.shape[3], v.shape[3]
    if not isinstance(cache, DynamicCache):
        heads, width = max(k.shape[2], v.shape[2]), max(widths)
        k, v = (F.pad(y.repeat_interleave(heads // y.shape[2], dim=2), (0, width - y.shape[3])) for y in (k, v))
    places = torch.arange(start, start + k.shape[1], device=k.device)
    k, v = cache.update(k.transpose(1, 2), v.transpose(1, 2), layer, {"cache_position": places})
    return tuple(y.transpose(1, 2)[..., :width] for y, width in zip((k, v), widths))


# ---- Stages. One is made of (model, heads), heads as Attention.declare tells them.

class Simulation(nn.Module):
    """SAS for one of q, k, v [B, T, C, D]: heads are the channels of the convolutions, a head's features the line; then
    two linears widen the features of q and k to Ds."""

    def __init__(self, heads, width, sas, convolve, project):
        super().__init__()
        Hs, Ds, taps = sas["n_sim_head"], sas["sim_head_dim"], sas["kernel_size"]
        if convolve:
            self.conv1 = nn.Conv1d(heads, Hs, taps, padding=taps // 2)
            self.conv2 = nn.Conv1d(Hs, Hs, taps, padding=taps // 2)
        if project:
            self.proj1, self.proj2 = linear(width, Ds, True), linear(Ds, Ds, True)
        self.convolve, self.project = convolve, project

    def forward(self, x):
        if self.convolve:
            z = self.conv1(x.flatten(0, 1))
            x = (z + self.conv2(F.relu(z))).unflatten(0, x.shape[:2])
        if self.project:
            z = self.proj1(x)
            x = z + self.proj2(F.relu(z))
        return x


class SimulatedAttention(nn.Module):
    """The simulations of q, k and v. Values that are not simulated: head h reads real value head h mod H."""

    turns = True  # q and k, which the projection then does not

    def __init__(self, model, heads):
        super().__init__()
        sas, n_head = model["attention"]["sas"], model["attention"]["n_head"]
        convolve, project = "heads" in sas["simulate"], "features" in sas["simulate"]
        self.q = Simulation(*heads["q"], sas, convolve, project)
        self.k = Simulation(*heads["k"], sas, convolve, project)
        self.simulate_values = convolve and "values" in sas["simulate"]
        if self.simulate_values:
            self.v = Simulation(*heads["v"], sas, True, False)
        Hs = sas["n_sim_head"] if convolve else n_head
        self.value_head = [(h % n_head) // (n_head // heads["v"][0]) for h in range(Hs)]

    def forward(self, q, k, v, turn):
        v = self.v(v) if self.simulate_values else v[:, :, self.value_head]
        return turn(self.q(q)), turn(self.k(k)), v


class Routing(nn.Module):
    """MoH: weights a token's heads: the shared ones and the top_k of the others."""

    def __init__(self, model, heads):
        super().__init__()
        moh, n_head = model["attention"]["moh"], model["attention"]["n_head"]
        self.H, self.S, self.k, self.unit = n_head, moh["n_shared_head"], moh["top_k"], moh["gates"] == "authors"
        self.router = linear(model["d_model"], n_head + (2 if self.S else 0))

    def forward(self, x, heads):
        scores = self.router(x).float()
        routed = scores[..., self.S:self.H]
        chosen = routed.sort(dim=-1, descending=True, stable=True).indices[..., :self.k]  # ties go to the lower head
        gates = routed.softmax(-1) * torch.zeros_like(routed).scatter(-1, chosen, 1.0)
        if self.unit:
            gates = gates / gates.sum(-1, keepdim=True) * self.k
        if self.S:
            shared, kinds = scores[..., :self.S].softmax(-1), scores[..., self.H:].softmax(-1)
            if self.unit:
                shared, kinds = shared * self.S, kinds * 2
            gates = torch.cat([shared * kinds[..., :1], gates * kinds[..., 1:]], -1)
        return heads * gates[..., None].to(heads.dtype)


# By their keys in the attention block, in their order.
BEFORE_CORE = {"sas": SimulatedAttention}  # forward(q, k, v, turn) -> q, k, v
AFTER_CORE = {"moh": Routing}  # forward(x, heads [B, T, H, Dv]) -> heads


# ---- Attention: project -> stages -> causal attention -> mean of simulated heads -> stages -> o.

class Attention(nn.Module):
    """A kind has declare(model), which makes its linears and tells how many heads of which width q, k and v have; and
    project(x, turn): x [B, T, d] -> q [B, T, H, Dqk], k [B, T, G, Dqk], v [B, T, G, Dv], with q and k turned."""

    has_biases = False

    def __init__(self, model, layer):
        super().__init__()
        a, d, heads = model["attention"], model["d_model"], self.declare(model)
        self.n_head, self.layer = a["n_head"], layer
        self.o = linear(self.n_head * heads["v"][1], d, model["bias"] and self.has_biases)
        self.before, self.after = ([name for name in stages if name in a] for stages in (BEFORE_CORE, AFTER_CORE))
        for name in self.before + self.after:
            self.add_module(name, (BEFORE_CORE | AFTER_CORE)[name](model, heads))
        window = a.get("window")
        short = window is not None and window["pattern"][layer % len(window["pattern"])] == "S"
        self.window = window["size"] if short else None

    def forward(self, x, turn, hidden, cache):
        """-> what goes to the residual stream [B, T, d], and the weights [B, heads, T, S]: under SAS those of simulated
        heads."""
        before, after = ([self.get_submodule(name) for name in names] for names in (self.before, self.after))
        q, k, v = self.project(x, unturned if any(stage.turns for stage in before) else turn)
        for stage in before:
            q, k, v = stage(q, k, v, turn)
        if cache is not None:
            k, v = keep(cache, self.layer, hidden.start, k, v)
        n = q.shape[2]
        k, v = (y.repeat_interleave(n // y.shape[2], dim=2) for y in (k, v))
        score = torch.einsum("bthe,bshe->bhts", q, k).float() / math.sqrt(q.shape[3])
        weight = score.masked_fill(hidden(k.shape[1], self.window), torch.finfo(score.dtype).min).softmax(-1).to(v.dtype)
        out = torch.einsum("bhts,bshd->bthd", weight, v)
        out = out.unflatten(2, (n // self.n_head, self.n_head)).mean(2)  # simulated head g*H + h: group g, head h
        for stage in after:
            out = stage(x, out)
        return self.o(out.flatten(2)), weight


class GroupedAttention(Attention):
    """mha, mqa, gqa, sas, moh: query head h reads key/value head floor(h / (H / G))."""

    has_biases = True

    def declare(self, model):
        a, d = model["attention"], model["d_model"]
        H, D = a["n_head"], a["head_dim"]
        G = {"mqa": 1, "gqa": a.get("n_kv_head")}.get(a["kind"], H)
        self.head_dim = D
        self.q, self.k, self.v = (linear(d, n * D, model["bias"]) for n in (H, G, G))
        return {"q": (H, D), "k": (G, D), "v": (G, D)}

    def project(self, x, turn):
        q, k, v = (stream(x).unflatten(-1, (-1, self.head_dim)) for stream in (self.q, self.k, self.v))
        return turn(q), turn(k), v


class LatentAttention(Attention):
    """mla: q from one normalised latent, [k_nope | v] from another; all heads share the rotated part of a key."""

    def declare(self, model):
        c, d, H, eps = model["attention"]["mla"], model["d_model"], model["attention"]["n_head"], model["norm"]["eps"]
        self.nope, self.rope, self.kv_rank = c["nope_dim"], c["rope_dim"], c["kv_rank"]
        width = self.nope + self.rope
        self.q_down, self.q_norm = linear(d, c["q_rank"]), RmsNorm(c["q_rank"], eps)
        self.q_up = linear(c["q_rank"], H * width)
        self.kv_down, self.kv_norm = linear(d, self.kv_rank + self.rope), RmsNorm(self.kv_rank, eps)
        self.kv_up = linear(self.kv_rank, H * (self.nope + c["v_dim"]))
        return {"q": (H, width), "k": (H, width), "v": (H, c["v_dim"])}

    def project(self, x, turn):
        q = self.q_up(self.q_norm(self.q_down(x))).unflatten(-1, (self.n_head, -1))
        latent, k_rope = self.kv_down(x).split([self.kv_rank, self.rope], -1)
        kv = self.kv_up(self.kv_norm(latent)).unflatten(-1, (self.n_head, -1))
        k_rope = turn(k_rope.unsqueeze(2)).expand(-1, -1, self.n_head, -1)
        return (torch.cat([q[..., :self.nope], turn(q[..., self.nope:])], -1),
                torch.cat([kv[..., :self.nope], k_rope], -1), kv[..., self.nope:])


class TensorProductAttention(Attention):
    """tpa: head h = 1/R sum_r a(x)[r, h] b(x)[r], the rows of b rotated for q and k."""

    def declare(self, model):
        a, d = model["attention"], model["d_model"]
        H, D = a["n_head"], a["head_dim"]
        self.ranks = {name: a["tpa"][f"{name}_rank"] for name in "qkv"}
        for name, R in self.ranks.items():
            self.add_module(f"{name}_a", linear(d, R * H))
            self.add_module(f"{name}_b", linear(d, R * D))
        return {name: (H, D) for name in "qkv"}

    def project(self, x, turn):
        def make(name, turn_rows):
            R = self.ranks[name]
            a, b = (self.get_submodule(f"{name}_{factor}")(x).unflatten(-1, (R, -1)) for factor in "ab")
            return torch.einsum("btrh,btrd->bthd", a, turn_rows(b)) / R

        return make("q", turn), make("k", turn), make("v", unturned)


class HeadEmbeddingAttention(Attention):
    """mhe: one head each of q, k and v, to which head h adds its embedding, or which it multiplies by 1 + that."""

    def declare(self, model):
        a = model["attention"]
        H, D = a["n_head"], a["head_dim"]
        self.form = a["mhe"]["form"]
        for name in "qkv":
            self.add_module(name, linear(model["d_model"], D))
            self.add_module(f"{name}_embed", nn.Embedding(H, D))
        return {name: (H, D) for name in "qkv"}

    def project(self, x, turn):
        def make(name):
            shared, embed = self.get_submodule(name)(x).unsqueeze(2), self.get_submodule(f"{name}_embed").weight
            return shared + embed if self.form == "add" else shared * (1 + embed)

        return turn(make("q")), turn(make("k")), make("v")


ATTENTION = {"mha": GroupedAttention, "mqa": GroupedAttention, "gqa": GroupedAttention, "sas": GroupedAttention,
             "moh": GroupedAttention, "mla": LatentAttention, "tpa": TensorProductAttention,
             "mhe": HeadEmbeddingAttention}


# ---- The model.

class Block(nn.Module):
    def __init__(self, model, layer):
        super().__init__()
        self.attn_norm, self.attn = make_norm(model), ATTENTION[model["attention"]["kind"]](model, layer)
        self.mlp_norm, self.mlp = make_norm(model), Mlp(model)

    def forward(self, x, turn, hidden, cache, wants_weights):
        out, weights = self.attn(self.attn_norm(x), turn, hidden, cache)
        x = x + out
        return x + self.mlp(self.mlp_norm(x)), weights if wants_weights else None


def padding_of(attention_mask, start, x):
    """attention_mask [B, start + T] for x [B, T, d]; all ones if there is none."""
    B, T = x.shape[:2]
    if attention_mask is None:
        return torch.ones(B, start + T, dtype=torch.long, device=x.device)
    if tuple(attention_mask.shape) != (B, start + T):
        raise ValueError(f"attention_mask: wanted {[B, start + T]}, a number for each token ({start} in the cache, {T} new), "
                         f"got {list(attention_mask.shape)}")
    return attention_mask


def the_cache(past_key_values, cache):
    """transformers passes the cache as past_key_values, since 5.24 as cache."""
    if past_key_values is not None and cache is not None:
        raise ValueError("wanted the cache once, got past_key_values and cache")
    cache = past_key_values if cache is None else cache
    if cache is not None and not hasattr(cache, "update"):
        raise ValueError(f"past_key_values: wanted a cache of transformers, such as DynamicCache, got {type(cache).__name__}")
    return cache


def check_room(cache, end):
    if cache is None or isinstance(cache, DynamicCache):
        return
    room = getattr(cache, "get_max_cache_shape", getattr(cache, "get_max_length", None))()
    if room is not None and 0 < room < end:
        raise ValueError(f"past_key_values: the cache has room for {room} tokens, got {end}")


def loss_of(logits, labels, num_items_in_batch):
    """The mean cross-entropy of the labels that are not -100; where their number over several batches is given, the sum
    divided by that, so that the losses of these batches add up to their mean."""
    if labels.shape != logits.shape[:2]:
        raise ValueError(f"labels: wanted {list(logits.shape[:2])}, as there are logits, got {list(labels.shape)}")
    reduction = "mean" if num_items_in_batch is None else "sum"
    targets = labels[:, 1:].flatten().to(logits.device)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), targets, reduction=reduction)
    if torch.is_tensor(num_items_in_batch):
        num_items_in_batch = num_items_in_batch.to(loss.device)
    return loss if num_items_in_batch is None else loss / num_items_in_batch


class SaslmForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = SaslmConfig
    main_input_name = "input_ids"
    _no_split_modules = ["Block"]
    _supports_cache_class = True
    _supports_static_cache = True
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True  # num_items_in_batch, of Trainer

    def __init__(self, config):
        super().__init__(config)
        model = config.model
        self.position, self.rope_base = model["attention"]["position"], model["attention"]["rope_base"]
        self.embed = nn.Embedding(model["vocab_size"], model["d_model"])
        if self.position == "learned":
            self.pos_embed = nn.Embedding(model["max_seq_len"], model["d_model"])
        self.layers = nn.ModuleList([Block(model, i) for i in range(model["n_layer"])])
        self.final_norm = make_norm(model)
        self.head = None if model["tie_embeddings"] else linear(model["d_model"], model["vocab_size"])
        self.softcap = model.get("logit_softcap", 0)  # 0: none
        self.gradient_checkpointing = False  # set by transformers
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, embed):
        self.embed = embed

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, head):
        self.head = head

    def resize_token_embeddings(self, *args, **kwargs):
        embed = super().resize_token_embeddings(*args, **kwargs)
        self.config.model = {**self.config.model, "vocab_size": embed.num_embeddings}
        return embed

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None,
                                      cache=None, position_ids=None, **kwargs):
        """What is not in the cache yet. input_ids [B, any] end in it; where the prompt came as inputs_embeds, in what was
        drawn since. Of attention_mask and position_ids, [B, all tokens], at least one is there."""
        cache = the_cache(past_key_values, cache)
        prompt = 0 if inputs_embeds is None else inputs_embeds.shape[1]
        counted = position_ids if attention_mask is None else attention_mask
        total = prompt + input_ids.shape[1] if counted is None else counted.shape[1]
        if total <= length_of(cache):  # a chunk of a prompt, with only its own positions
            total = length_of(cache) + input_ids.shape[1]
        new = total - length_of(cache)
        given = {name: kwargs[name] for name in ("logits_to_keep", "output_attentions", "output_hidden_states") if name in kwargs}
        given |= {"attention_mask": attention_mask, CACHE: cache}
        if position_ids is not None and position_ids.shape[1] == total:  # older transformers do not extend a prompt's
            given["position_ids"] = position_ids[:, total - new:]
        drawn = input_ids[:, max(0, input_ids.shape[1] - (total - prompt)):]
        if inputs_embeds is None:
            return {"input_ids": drawn[:, max(0, drawn.shape[1] - new):], **given}
        embeds = torch.cat([inputs_embeds, self.embed(drawn).to(inputs_embeds.dtype)], 1)
        return {"inputs_embeds": embeds[:, total - new:], **given}

    def place(self, x, end, positions):
        """What the positions of x [B, T, d], the last being the end-th token, make of it, and of its queries and keys."""
        if self.position == "rope":
            return x, Rotation(self.rope_base, positions)
        if self.position == "none":
            return x, unturned
        if end > self.pos_embed.num_embeddings:
            raise ValueError(f"{end} tokens, but only {self.pos_embed.num_embeddings} learned positions")
        return x + self.pos_embed(positions), unturned

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
                labels=None, use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None,
                logits_to_keep=0, num_items_in_batch=None, cache=None, **unknown):
        """input_ids [B, T], or their embeddings [B, T, d] -> logits [B, T, V], after what past_key_values (or cache) holds;
        these are added to it. With use_cache and none given, a new cache is returned; nothing is kept by default. attention_mask
        [B, past + T]: 0 where a token is padding, on either side; positions count the others, unless given. labels
        [B, T]: the tokens themselves, which are shifted here; -100 is left out. num_items_in_batch: see loss_of.
        logits_to_keep: of the last so many tokens alone (0: of all), or of the tokens at these places.
        output_attentions: of each layer the weights [B, heads, T, S], under SAS of simulated heads.
        output_hidden_states: what enters each layer, and the last one's output, normalised."""
        unknown = sorted(name for name, value in unknown.items() if value is not None and name != "cache_position")
        if unknown:
            raise TypeError(f"SaslmForCausalLM.forward does not know {', '.join(unknown)}")
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("wanted either input_ids or inputs_embeds, got " + ("neither" if input_ids is None else "both"))
        if output_attentions is None:
            output_attentions = getattr(self.config, "output_attentions", False)
        if output_hidden_states is None:
            output_hidden_states = getattr(self.config, "output_hidden_states", False)
        cache, checkpointing = the_cache(past_key_values, cache), self.gradient_checkpointing and self.training
        if checkpointing and cache is not None:
            raise ValueError("past_key_values: gradient checkpointing computes layers twice, which would fill the cache twice")
        if use_cache and cache is None and not checkpointing:
            cache = DynamicCache()

        x, start = self.embed(input_ids) if inputs_embeds is None else inputs_embeds, length_of(cache)
        check_room(cache, start + x.shape[1])
        attention_mask = padding_of(attention_mask, start, x)
        hidden = Hidden(attention_mask, start)
        if position_ids is None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, start:]
        x, turn = self.place(x, start + x.shape[1], position_ids)

        states, attentions = [], []
        for layer in self.layers:
            states.append(x)
            inputs = x, turn, hidden, cache, output_attentions
            x, weights = self._gradient_checkpointing_func(layer.__call__, *inputs) if checkpointing else layer(*inputs)
            attentions.append(weights)
        x = self.final_norm(x)
        states.append(x)
        kept = x[:, -logits_to_keep if logits_to_keep else 0:] if isinstance(logits_to_keep, int) else x[:, logits_to_keep]
        logits = F.linear(kept, self.embed.weight) if self.head is None else self.head(kept)
        if self.softcap:
            logits = self.softcap * torch.tanh(logits / self.softcap)

        out = CausalLMOutputWithPast(loss=None if labels is None else loss_of(logits, labels, num_items_in_batch), logits=logits,
                                     hidden_states=tuple(states) if output_hidden_states else None,
                                     attentions=tuple(attentions) if output_attentions else None, **{CACHE: cache})
        return out.to_tuple() if return_dict is False else out
