"""A model that saslm trained, for transformers: every kind of attention saslm knows, as plain PyTorch.

    AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)

config.model is the "model" block of saslm's own config.json, and the weights keep saslm's names, so that saslm reads
this folder too. A cache, with transformers 4.46 or newer, holds keys and values as attention reads them: under SAS the
simulated ones. With labels, loss is the cross-entropy alone, without what moh adds to it in training.

Shapes: B batch, T time, H heads, G key/value heads, D head width; Hs and Ds the simulated ones.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class SaslmConfig(PretrainedConfig):
    model_type = "saslm"


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
    """Turns [B, T, any, E]: the pair (i, i + E/2) by position * base^(-2i/E). E is the same in all layers."""

    def __init__(self, base, positions):
        self.base, self.positions, self.table = base, positions, None  # [B, T]

    def __call__(self, x):
        half = x.shape[-1] // 2
        if self.table is None:  # in float64, which not every device has
            speed = self.base ** (-torch.arange(half, dtype=torch.float64, device="cpu") / half)
            angle = self.positions.cpu()[..., None, None] * speed
            self.table = angle.cos().float(), angle.sin().float()
        cos, sin = self.table = [y.to(x.device) for y in self.table]
        a, b = x[..., :half].float(), x[..., half:].float()
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


def unturned(x):
    return x


# ---- Stages.

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

    def __init__(self, heads, n_head, sas):
        super().__init__()
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
    """MoH: weighs a token's heads: the shared ones and, of the others, its top_k."""

    def __init__(self, d_model, n_head, moh):
        super().__init__()
        self.H, self.S, self.k, self.unit = n_head, moh["n_shared_head"], moh["top_k"], moh["gates"] == "authors"
        self.router = linear(d_model, n_head + (2 if self.S else 0))

    def forward(self, x, heads):
        scores = self.router(x).float()
        routed = scores[..., self.S:self.H]
        chosen = routed.sort(dim=-1, descending=True, stable=True).indices[..., :self.k]  # of equals the lower head
        gates = routed.softmax(-1) * torch.zeros_like(routed).scatter(-1, chosen, 1.0)
        if self.unit:
            gates = gates / gates.sum(-1, keepdim=True) * self.k
        if self.S:
            shared, kinds = scores[..., :self.S].softmax(-1), scores[..., self.H:].softmax(-1)
            if self.unit:
                shared, kinds = shared * self.S, kinds * 2
            gates = torch.cat([shared * kinds[..., :1], gates * kinds[..., 1:]], -1)
        return heads * gates[..., None].to(heads.dtype)


# ---- Attention: project -> [simulate] -> causal attention -> [route] -> o.

class Attention(nn.Module):
    """A kind has declare(model), which makes its linears and tells how many heads of which width q, k and v have; and
    project(x, turn): x [B, T, d] -> q [B, T, H, Dqk], k [B, T, G, Dqk], v [B, T, G, Dv], with q and k turned."""

    has_biases = False

    def __init__(self, model, layer):
        super().__init__()
        a, d, heads = model["attention"], model["d_model"], self.declare(model)
        self.n_head, self.layer = a["n_head"], layer
        self.o = linear(self.n_head * heads["v"][1], d, model["bias"] and self.has_biases)
        self.sas = SimulatedAttention(heads, self.n_head, a["sas"]) if "sas" in a else None
        self.moh = Routing(d, self.n_head, a["moh"]) if "moh" in a else None

    def forward(self, x, turn, hidden, cache):
        """hidden [B or 1, 1, T, all there are]: true where a query must not look."""
        if self.sas is None:
            q, k, v = self.project(x, turn)
        else:
            q, k, v = self.sas(*self.project(x, unturned), turn)
        if cache is not None:  # [B, heads, T, width] there
            k, v = (y.transpose(1, 2) for y in cache.update(k.transpose(1, 2), v.transpose(1, 2), self.layer))
        n = q.shape[2]
        k, v = (y.repeat_interleave(n // y.shape[2], dim=2) for y in (k, v))
        score = torch.einsum("bthe,bshe->bhts", q, k).float() / math.sqrt(q.shape[3])
        weight = score.masked_fill(hidden, torch.finfo(score.dtype).min).softmax(-1).to(v.dtype)
        out = torch.einsum("bhts,bshd->bthd", weight, v)
        out = out.unflatten(2, (n // self.n_head, self.n_head)).mean(2)  # simulated head g*H + h: group g, head h
        if self.moh is not None:
            out = self.moh(x, out)
        return self.o(out.flatten(2))


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
    """mla: q from one normalised latent, [k_nope | v] from another; the turned part of a key is shared by all heads."""

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
    """tpa: head h = 1/R sum_r a(x)[r, h] b(x)[r], the rows of b turned for q and k."""

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

    def forward(self, x, turn, hidden, cache):
        x = x + self.attn(self.attn_norm(x), turn, hidden, cache)
        return x + self.mlp(self.mlp_norm(x))


def length_of(past_key_values):
    return 0 if past_key_values is None else past_key_values.get_seq_length()


class SaslmForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = SaslmConfig
    main_input_name = "input_ids"
    _no_split_modules = ["Block"]
    _supports_cache_class = True

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

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, **kwargs):
        return {"input_ids": input_ids[:, length_of(past_key_values):], "attention_mask": attention_mask,
                "past_key_values": past_key_values}

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, labels=None,
                use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        """input_ids [B, T] -> logits [B, T, V], after what past_key_values hold; these are added to it. With use_cache and
        none given, a new cache is returned; nothing is kept by default. attention_mask
        [B, past + T]: 0 where a token is padding, on either side; positions count the others, unless given. labels
        [B, T]: the tokens themselves, which are shifted here; -100 is left out."""
        if output_attentions:
            raise ValueError("output_attentions: this model does not keep attention weights")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        (B, T), start = input_ids.shape, length_of(past_key_values)
        if attention_mask is None:
            attention_mask = input_ids.new_ones(B, start + T)
        future = attention_mask.new_ones(T, start + T, dtype=torch.bool).triu(start + 1)
        hidden = future | (attention_mask[:, None, None] == 0)
        if position_ids is None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, start:]

        x, turn = self.embed(input_ids), unturned
        if self.position == "learned":
            if start + T > self.pos_embed.num_embeddings:
                raise ValueError(f"{start + T} tokens, but only {self.pos_embed.num_embeddings} learned positions")
            x = x + self.pos_embed(position_ids)
        elif self.position == "rope":
            turn = Rotation(self.rope_base, position_ids)
        states = [x]
        for layer in self.layers:
            x = layer(x, turn, hidden, past_key_values)
            states.append(x)
        x = self.final_norm(x)
        logits = F.linear(x, self.embed.weight) if self.head is None else self.head(x)

        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        states = tuple(states[:-1]) + (x,) if output_hidden_states else None
        if return_dict is False:
            return tuple(y for y in (loss, logits, states) if y is not None)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values, hidden_states=states)
