"""mla: q from one normalised latent, [k_nope | v] from another, beside which lies the rotated key part of all heads."""
from types import SimpleNamespace

import torch


def streams(m):
    H, d, c = m.attention.n_head, m.d_model, SimpleNamespace(**m.attention.mla)
    width = c.nope_dim + c.rope_dim
    return {"q": (H, width, {"q_down": [c.q_rank, d], "q_norm": [c.q_rank], "q_up": [H * width, c.q_rank]}),
            "k": (H, width, {"kv_down": [c.kv_rank + c.rope_dim, d], "kv_norm": [c.kv_rank],
                             "kv_up": [H * (c.nope_dim + c.v_dim), c.kv_rank]}),
            "v": (H, c.v_dim, {})}


def project(p, m, at, x, turn):
    H, c = m.attention.n_head, SimpleNamespace(**m.attention.mla)

    def linear(name, y):
        return y @ p[f"{at}{name}.weight"].T

    def rms(name, y):
        return y * torch.rsqrt((y * y).mean(-1, keepdim=True) + m.norm.eps) * p[f"{at}{name}.weight"]

    q = linear("q_up", rms("q_norm", linear("q_down", x))).unflatten(-1, (H, -1))
    q_nope, q_rope = q.split([c.nope_dim, c.rope_dim], -1)
    latent, k_rope = linear("kv_down", x).split([c.kv_rank, c.rope_dim], -1)
    kv = linear("kv_up", rms("kv_norm", latent)).unflatten(-1, (H, -1))
    k_nope, v = kv.split([c.nope_dim, c.v_dim], -1)
    k_rope = turn(k_rope.unsqueeze(2)).expand(-1, -1, H, -1)
    return torch.cat([q_nope, turn(q_rope)], -1), torch.cat([k_nope, k_rope], -1), v


def block(q_rank, kv_rank, nope_dim, rope_dim, v_dim):
    return dict(q_rank=q_rank, kv_rank=kv_rank, nope_dim=nope_dim, rope_dim=rope_dim, v_dim=v_dim)


CASES = {
    "mla": dict(n_head=4, position="rope", mla=block(10, 8, 6, 4, 5)),
    "mla_learned": dict(n_head=3, head_dim=9, position="learned", d=20, mlp="gelu", norm="layernorm", norm_eps=1e-6,
                        bias=True, tie=False, schedule="linear", mla=block(7, 5, 4, 5, 8)),
    "mla_sas": dict(n_head=4, position="rope", batch=2, accum=2, mla=block(12, 6, 5, 2, 6),
                    sas={"n_sim_head": 8, "sim_head_dim": 10, "kernel_size": 3}),
    "mla_sas_features": dict(n_head=2, position="rope", n_layer=1, rope_base=100, clip=0.5, mla=block(9, 9, 3, 4, 10),
                             sas={"n_sim_head": 2, "sim_head_dim": 12, "kernel_size": 3, "simulate": ["features"]}),
}
