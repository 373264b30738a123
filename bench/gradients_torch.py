"""PyTorch's process of gradients.ts: forward and backward by autograd, and the backward alone."""

import os
import sys

sys.dont_write_bytecode = True

import torch
import torch.nn.functional as F

from torch_process import Ready, bytes_in_order, load, rms, serve

aten = torch.ops.aten
ALL = [True, True, True]


def calls_of(given):
    """By name: what gives dx, dweight and dbias (not that of rmsNorm)."""
    op, dims, eps, channels = (given[name] for name in ("op", "dims", "eps", "channels"))
    groups, momentum = (given["constants"][name] for name in ("groups", "momentum"))
    x, dy = (load(given[name]).view(dims) for name in ("x", "dy"))
    w, b, running_mean, running_var = (load(given[name]) for name in ("weight", "bias", "runningMean", "runningVar"))
    if given["channelsLast"] and len(dims) > 2:  # the same memory, seen as [N, C, ...]: PyTorch's channels_last
        x, dy = x.movedim(-1, 1), dy.movedim(-1, 1)
    running = (running_mean, running_var)
    volume = (given["samples"], channels, given["positions"])
    # The backward alone first, by tensors of which autograd knows nothing.
    backward = None
    if op == "layerNorm":
        _, mean, rstd = aten.native_layer_norm(x, [channels], w, b, eps)
        backward = lambda: aten.native_layer_norm_backward(dy, plain, [channels], mean, rstd, w0, b0, ALL)
        forward = lambda: F.layer_norm(x, [channels], w, b, eps)
    elif op == "rmsNorm":
        forward = lambda: rms(x, w, eps)
    elif op == "groupNorm":
        _, mean, rstd = aten.native_group_norm(x, w, b, *volume, groups, eps)
        # It reads channels first only: autograd copies what is not, and so do we.
        backward = lambda: aten.native_group_norm_backward(
            dy.contiguous(), plain.contiguous(), mean, rstd, w0, *volume, groups, ALL
        )
        forward = lambda: F.group_norm(x, groups, w, b, eps)
    else:
        _, mean, rstd = aten.native_batch_norm(x, w, b, *running, True, momentum, eps)
        backward = lambda: aten.native_batch_norm_backward(dy, plain, w0, *running, mean, rstd, True, eps, ALL)
        forward = lambda: F.batch_norm(x, *running, w, b, True, momentum, eps)
    plain, w0, b0 = (one.detach() for one in (x, w, b))
    inputs = [one.requires_grad_() for one in ([x, w] if op == "rmsNorm" else [x, w, b])]
    if backward is None:
        # Written out, it has no backward of its own: that of the graph, which is kept.
        y = forward()
        backward = lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)
    both = lambda: torch.autograd.grad(forward(), inputs, dy)
    return {"backward": backward, "forward + backward": both}


def candidates_of(given):
    last = given["channelsLast"] and len(given["dims"]) > 2

    def bytes_of(gradients):
        dx, *others = gradients
        return bytes_in_order(dx, last) + b"".join(one.numpy().tobytes() for one in others)

    calls = calls_of(given)
    counts = [(1, "")] + ([(2, ", two threads")] if os.cpu_count() > 1 else [])
    return {name + suffix: Ready(call, count, bytes_of) for count, suffix in counts for name, call in calls.items()}


serve(candidates_of)
