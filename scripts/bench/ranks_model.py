#!/usr/bin/env python3
"""A model of a step on several GPUs: which part of the time is computing, with the sum of gradients over ranks beside it.

Not a measurement: the figures at the head are guesses, each an option. One process queues kernels and exchanges, a GPU
computes, and its connections carry exchanges, one after the other; each waits for what it needs. Compared are a call for
every level of every bucket, and a call that carries a stage, of up to three levels, of each of several buckets
(src/train/gradient_sum.h, bucket_pipeline.h).
"""
import argparse
import math

KERNELS_A_LAYER, KERNELS_ELSE = 42, 15  # of a micro-batch: docs/performance.md
NODE = 8                                # GPUs that NVLink joins


def stages(ranks, elements, pipelined):
    """(bytes that a rank sends, over the network) at each level of a bucket, or stage of three levels, there and back."""
    bits = int(math.log2(ranks))
    near = min(bits, int(math.log2(NODE)))
    ends = sorted({near, bits, *range(near, bits, 3)} - {0}) if pipelined else range(1, bits + 1)
    halving, first = [], 0
    for end in ends:
        halving.append((4 * elements * (2.0**-first - 2.0**-end), first >= near))
        first = end
    return halving + halving[::-1]


def exchange_s(parts, o):
    """Parts on different connections travel at once; those on one share it."""
    wide = sum(size for size, far in parts if far) / (o.network_gbs * 1e9)
    near = sum(size for size, far in parts if not far) / (o.nvlink_gbs * 1e9)
    return max(wide, near) + 1e-6 * (o.far_us if any(far for _, far in parts) else o.near_us)


def exchanges_of(ranks, sizes, pipelined):
    """(after which bucket is final, parts) in the order of the calls."""
    levels = [stages(ranks, size, pipelined) for size in sizes]
    depth = len(levels[0])
    if not pipelined:
        return [(b, [level]) for b, all_levels in enumerate(levels) for level in all_levels]
    calls = []
    for call in range(len(sizes) + depth - 1):
        at = [(b, call - b) for b in range(len(sizes)) if 0 <= call - b < depth]
        calls.append((min(call, len(sizes) - 1), [levels[b][stage] for b, stage in at]))
    return calls


def step_s(ranks, tokens, bucket, pipelined, o):
    """Seconds of a step of `tokens` on each rank; without exchanges where ranks is 1."""
    micro_batches = max(1, tokens // o.micro_tokens)
    compute_s = o.flops_per_token * tokens / micro_batches / (o.peak_tflops * 1e12 * o.mfu)
    host, gpu, link = 0.0, 0.0, 0.0
    launch_s = 1e-6 * o.launch_us
    for _ in range(micro_batches - 1):
        host += launch_s * (KERNELS_A_LAYER * o.layers + KERNELS_ELSE)
        gpu = max(gpu + compute_s, host)
    host += launch_s * KERNELS_A_LAYER / 3 * o.layers  # the last one's forward
    gpu = max(gpu + compute_s / 3, host)
    # Its backward finishes the layers' gradients one after the other, and the embedding's, which are the head's, too, last.
    total = o.embedding + o.rest
    sizes = [min(bucket, total - b * bucket) for b in range(math.ceil(total / bucket))][::-1]  # from the end
    calls = exchanges_of(ranks, sizes, pipelined) if ranks > 1 else []
    final, at, done = [], 0, 0
    for size in sizes:
        done += size
        final.append(min(1.0, done / o.rest) if done <= o.rest else 1.0)
    for b, when in enumerate(final):
        part = when - (final[b - 1] if b else 0)
        host += launch_s * KERNELS_A_LAYER * 2 / 3 * o.layers * part
        gpu = max(gpu, host) + compute_s * 2 / 3 * part
        while at < len(calls) and calls[at][0] <= b:
            host += 1e-6 * o.call_us
            link = max(link, host, gpu) + exchange_s(calls[at][1], o)
            at += 1
    return max(gpu, link, host) + 1e-6 * o.update_us


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value, what in [("--peak-tflops", 989, "a GPU's dense bf16"), ("--mfu", 0.4, "part of it that is reached"),
                              ("--nvlink-gbs", 300, "GB/s each way"), ("--network-gbs", 42, "GB/s each way and GPU"),
                              ("--near-us", 18, "an exchange's latency"), ("--far-us", 35, "likewise over the network"),
                              ("--call-us", 45, "of the process, a call"), ("--launch-us", 4, "likewise, a kernel"),
                              ("--update-us", 300, "norm and update"), ("--flops-per-token", 0.86e9, "3 x forward"),
                              ("--embedding", 38.6e6, "elements that are final last"), ("--rest", 85.1e6, "other elements"),
                              ("--layers", 12, ""), ("--micro-tokens", 8192, "tokens of a micro-batch")]:
        parser.add_argument(name, type=type(value), default=value, help=f"{what} (default: %(default)s)")
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192, 65536], help="a rank's, of a step")
    parser.add_argument("--mib", type=int, nargs="+", default=[16, 32, 64], help="buckets")
    o = parser.parse_args()
    print(f"{'ranks':>5} {'tokens a rank':>13} {'bucket MiB':>10} | {'a call a level':>23} | {'a call a bucket':>23}")
    for ranks in o.ranks:
        for tokens in o.tokens:
            for mib in o.mib:
                bucket = mib << 18
                alone = step_s(1, tokens, bucket, False, o)
                cells = []
                for pipelined in (False, True):
                    count = len(exchanges_of(ranks, [bucket] * math.ceil((o.embedding + o.rest) / bucket), pipelined))
                    cells.append(f"{count:>4} calls, computing {100 * alone / step_s(ranks, tokens, bucket, pipelined, o):3.0f} %")
                print(f"{ranks:>5} {tokens:>13} {mib:>10} | {cells[0]} | {cells[1]}")


if __name__ == "__main__":
    main()
