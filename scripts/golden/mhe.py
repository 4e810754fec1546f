"""mhe: q, k and v are one head each; head h adds its embedding to it, or multiplies by 1 + embedding, before the turn."""


def streams(m):
    H, D, d = m.attention.n_head, m.attention.head_dim, m.d_model
    return {name: (H, D, {name: [D, d], f"{name}_embed": [H, D]}) for name in "qkv"}


def project(p, m, at, x, turn):
    def heads(name):
        shared, embed = (x @ p[f"{at}{name}.weight"].T).unsqueeze(2), p[f"{at}{name}_embed.weight"]
        return shared + embed if m.attention.mhe["form"] == "add" else shared * (1 + embed)

    return turn(heads("q")), turn(heads("k")), heads("v")


CASES = {
    "mhe_add": dict(n_head=5, head_dim=6, batch=2, accum=2, mhe={"form": "add"}),
    "mhe_mul": dict(n_head=3, head_dim=7, position="learned", d=19, norm="layernorm", bias=True, tie=False,
                    mhe={"form": "mul"}),
    "mhe_sas": dict(n_head=4, head_dim=5, bias=True, mhe={"form": "mul"},
                    sas={"n_sim_head": 8, "sim_head_dim": 6, "kernel_size": 3}),
}
