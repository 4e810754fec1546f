"""tpa: head h = 1/R sum_r a(x)[r, h] b(x)[r]; the rows of b are rotated, for q and k."""
import torch


def ranks(m):
    return {name: m.attention.tpa[f"{name}_rank"] for name in "qkv"}


def streams(m):
    H, D, d = m.attention.n_head, m.attention.head_dim, m.d_model
    return {name: (H, D, {f"{name}_a": [R * H, d], f"{name}_b": [R * D, d]}) for name, R in ranks(m).items()}


def project(p, m, at, x, turn):
    def head(name, R, turn_rows):
        a, b = ((x @ p[f"{at}{name}_{factor}.weight"].T).unflatten(-1, (R, -1)) for factor in "ab")
        return torch.einsum("btrh,btrd->bthd", a, turn_rows(b)) / R

    return (head(name, R, (lambda y: y) if name == "v" else turn) for name, R in ranks(m).items())


CASES = {
    "tpa": dict(n_head=5, head_dim=6, tpa={"q_rank": 3, "k_rank": 2, "v_rank": 2}),
    "tpa_odd": dict(n_head=3, head_dim=7, position="learned", d=19, norm="layernorm", bias=True, tie=False,
                    tpa={"q_rank": 4, "k_rank": 1, "v_rank": 3}),
    "tpa_sas": dict(n_head=4, head_dim=5, bias=True, tpa={"q_rank": 3, "k_rank": 2, "v_rank": 2},
                    sas={"n_sim_head": 8, "sim_head_dim": 6, "kernel_size": 3}),
    "tpa_sas_heads": dict(n_head=3, head_dim=6, position="none", batch=2, accum=2,
                          tpa={"q_rank": 2, "k_rank": 3, "v_rank": 1},
                          sas={"n_sim_head": 6, "sim_head_dim": 6, "kernel_size": 5, "simulate": ["heads"]}),
}
