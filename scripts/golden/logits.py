"""What becomes of the logits: the soft cap of the model, and the z-loss that training adds to the cross-entropy."""
import torch


def capped(m, logits):
    return m.logit_softcap * torch.tanh(logits / m.logit_softcap) if m.logit_softcap else logits


def z_term(weight, lse):
    """The mean over tokens of lse = log sum e^logits, squared. [] without a weight: nothing is added."""
    return [weight * (lse ** 2).mean()] if weight else []


CASES = {
    "softcap": dict(kind="mha", n_head=4, head_dim=6, softcap=2.5),
    "z_loss": dict(kind="gqa", n_head=4, head_dim=6, n_kv_head=2, tie=False, mlp="gelu", batch=2, accum=3, z_loss=0.05),
    "softcap_z_loss": dict(kind="mqa", n_head=4, head_dim=5, position="learned", d=20, norm="layernorm", bias=True, vocab=67,
                           clip=0.5, batch=3, accum=2, softcap=4, z_loss=0.2),
    "moh_z_loss": dict(kind="moh", n_head=4, head_dim=6, n_layer=3, softcap=3, z_loss=0.1,
                       moh={"n_shared_head": 1, "top_k": 2, "balance_weight": 0.5, "gates": "authors"}),
    "sas_softcap_z_loss": dict(kind="sas", n_head=4, head_dim=6, bias=True, softcap=2, z_loss=0.01,
                               sas={"n_sim_head": 8, "sim_head_dim": 10, "kernel_size": 3}),
}
