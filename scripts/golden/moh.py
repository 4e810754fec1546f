"""moh: a token weighs its heads, the shared ones and of the others its top_k, by softmaxes over a router's scores. A stage
between the heads of any kind and its output matrix."""
import sys

import torch

MARGIN = 1e-4  # of the last score chosen over the first left out; in a fixture's steps fp32 strays from float64 by up to 1.2e-5


def shapes(m):
    return {"moh.router": [m.attention.n_head + (2 if m.attention.moh["n_shared_head"] else 0), m.d_model]}


def after_core(p, m, at, x, heads):
    """heads [B, T, H, D] -> the same, weighed; and the layer's term of the loss (None: there is none)."""
    H, moh = m.attention.n_head, m.attention.moh
    S, k, unit = moh["n_shared_head"], moh["top_k"], moh.get("gates", "authors") == "authors"
    scores = x @ p[at + "moh.router.weight"].T
    routed = scores[..., S:H]
    ranked = routed.sort(-1, descending=True).values
    if k < H - S and float((ranked[..., k - 1] - ranked[..., k]).min()) < MARGIN:
        print(f"{at}moh: a near tie; an fp32 run may choose another head", file=sys.stderr)
    chosen = (routed >= ranked[..., k - 1:k]).to(x.dtype)

    prob = routed.softmax(-1)
    shares, kinds = prob * chosen, torch.ones_like(scores[..., :1])
    if unit:
        shares = shares / shares.sum(-1, keepdim=True) * k
    if S:
        shared, kinds = scores[..., :S].softmax(-1), scores[..., H:].softmax(-1)
        if unit:
            shared, kinds = shared * S, kinds * 2
        shares = torch.cat([shared * kinds[..., :1], shares * kinds[..., 1:]], -1)
    balance = (prob.mean((0, 1)) * chosen.mean((0, 1))).sum()
    return heads * shares[..., None], moh.get("balance_weight", 0.01) * balance


CASES = {
    "moh": dict(n_head=6, head_dim=4, moh={"n_shared_head": 2, "gates": "paper", "top_k": 2, "balance_weight": 0.5}),
    "moh_authors": dict(n_head=5, head_dim=5, position="learned", d=20, norm="layernorm", bias=True, tie=False, batch=2, accum=3,
                        moh={"n_shared_head": 2, "top_k": 1, "balance_weight": 1.0, "gates": "authors"}),
    "moh_all_routed": dict(n_head=4, head_dim=6, position="none", mlp="gelu", clip=0,
                           moh={"n_shared_head": 0, "top_k": 3, "gates": "authors"}),
    "moh_gqa": dict(kind="gqa", n_head=6, head_dim=4, n_kv_head=2, mlp="relu2", schedule="linear",
                    moh={"n_shared_head": 1, "gates": "paper", "top_k": 2, "balance_weight": 0.1}),
    "moh_sas": dict(n_head=4, head_dim=6, sas={"n_sim_head": 8, "sim_head_dim": 10, "kernel_size": 3},
                    moh={"n_shared_head": 2, "top_k": 1, "balance_weight": 0.1, "gates": "authors"}),
}
