"""The process of PyTorch: does what the lines of standard input say, as serve of src/cli/bench/contender.ts does."""

import hashlib
import json
import os
import sys
import time

import torch
import torch.nn.functional as F

NAME = f"PyTorch {torch.__version__}"
# It may print whatever it likes, but not between the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def load(where):
    return torch.from_file(where["float32"], size=os.path.getsize(where["float32"]) // 4).clone()


def rms(x, w, eps, counted=None):
    return x * torch.rsqrt(x[:, :counted].square().mean(-1, keepdim=True) + eps) * w


def call_of(given):
    """What does the problem, as a function without arguments; its result is a tensor of the problem's layout."""
    op, dims, eps = given["op"], given["dims"], given["eps"]
    constants = given["constants"]
    x = load(given["x"]).view(dims)
    w, b, mean, var = (load(given[name]) for name in ("weight", "bias", "runningMean", "runningVar"))
    channels = given["channels"]
    last = given["channelsLast"] and len(dims) > 2
    if last:  # the same memory, seen as [N, C, ...]: PyTorch's channels_last
        x = x.movedim(-1, 1)
    if op == "layerNorm":
        return lambda: F.layer_norm(x, [channels], w, b, eps)
    if op == "layerNormChannels":
        return lambda: F.layer_norm(x.movedim(1, -1), [channels], w, b, eps).movedim(-1, 1).contiguous()
    if op == "rmsNorm":
        return lambda: rms(x, w, eps)
    if op == "pRMSNorm":
        counted = -int(-channels * constants["partial"] // 1)
        return lambda: rms(x, w, eps, counted)
    if op == "batchNorm":
        return lambda: F.batch_norm(x, mean, var, w, b, False, 0, eps)
    if op == "batchNormTraining":
        return lambda: F.batch_norm(x, mean, var, w, b, True, constants["momentum"], eps)
    if op == "groupNorm":
        return lambda: F.group_norm(x, constants["groups"], w, b, eps)
    if op == "instanceNorm":
        return lambda: F.instance_norm(x, weight=w, bias=b, eps=eps)
    if op == "normalize":
        return lambda: F.normalize(x, eps=eps)
    if op == "localResponseNorm":
        lrn = constants["lrn"]
        return lambda: F.local_response_norm(x, lrn["size"], lrn["alpha"], lrn["beta"], lrn["k"])
    return None


class Ready:
    """A call without arguments, how many threads it may use, and what makes bytes of its result."""

    def __init__(self, call, threads, bytes_of):
        self.call = call
        self.threads = threads or os.cpu_count()
        self.bytes_of = bytes_of

    def time(self, calls):
        torch.set_num_threads(self.threads)
        start = time.perf_counter_ns()
        for _ in range(calls):
            self.call()
        return (time.perf_counter_ns() - start) / calls

    def bytes(self):
        torch.set_num_threads(self.threads)
        return self.bytes_of(self.call())


def candidates_of(given):
    call = call_of(given)
    last = given["channelsLast"] and len(given["dims"]) > 2
    ready = Ready(call, given["threads"], lambda y: bytes_in_order(y, last))
    return {NAME: ready} if call else {}


def bytes_in_order(y, last):
    return (y.movedim(1, -1) if last else y).contiguous().numpy().tobytes()


def warm(ready, milliseconds):
    end = time.perf_counter_ns() + milliseconds * 1e6
    best = ready.time(1)
    while time.perf_counter_ns() < end:
        best = min(best, ready.time(1))
    return best


def timed(ready, calls):
    if calls > 1:
        ready.time(1)
    return ready.time(calls)


def result(ready, path):
    data = ready.bytes()
    if path:
        with open(path, "wb") as file:
            file.write(data)
    return hashlib.sha1(data).hexdigest()


def answer(value):
    answers.write(f"@{json.dumps(value)}\n")
    answers.flush()


def serve(candidates_of):
    """Answers until there is nothing more to read. candidates_of makes of a problem what is ready to run, by name."""
    commands = {"warm": warm, "time": timed, "result": result}
    problems = {}
    answer({"value": torch.__version__})
    for line in sys.stdin:
        command, key, name, value = (json.loads(line) + [None, None])[:4]
        try:
            if command == "make":  # in the place of a name stands the problem
                problems[key] = candidates_of(json.loads(name))
                done = [{"name": one, "affine": True, "statistics": False} for one in problems[key]]
            elif command == "drop":
                done = None
                problems.pop(key, None)
            else:
                done = commands[command](problems[key][name], value)
            answer({"value": done})
        except Exception as error:  # told to the benchmark, which ends
            answer({"error": str(error)})


if __name__ == "__main__":
    with torch.inference_mode():
        serve(candidates_of)
