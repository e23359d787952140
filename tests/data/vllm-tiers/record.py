"""Ask real vLLM how many of each prompt's tokens it found on the GPU, and how many in host memory.

    python record.py WORKLOAD.jsonl OUT_FOLDER [--host-gib 30]

Runs vLLM 0.24.0 in this process on the GPU at hand, with weights of no meaning, and sends it the
requests of WORKLOAD when their time comes: lines of {"arrival_s", "input_tokens", "output_tokens",
"hash_ids"}, an id for each 16 tokens of the prompt. Writes requests.csv, steps.csv, and in
transfers.csv the copies between GPU and host, as CUDA's events time them. See README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

os.environ.update(
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_USE_FLASHINFER_SAMPLER="0",
    VLLM_NO_USAGE_STATS="1",
    HF_HUB_OFFLINE="1",
)

BLOCK = 16
COLUMNS = (
    "added_s",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "gpu_tokens",
    "host_tokens",
    "first_token_s",
    "finish_s",
    "n_deferred",
)
LLAMA_3_1_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
    "bos_token_id": 128000,
    "eos_token_id": 128001,
}


def prompt_of(row: dict, number: int) -> list[int]:
    """The same tokens for the same id; what no id covers is the request's own."""
    tokens: list[int] = []
    for name in (*row["hash_ids"], "own"):
        is_own = isinstance(name, str)
        draw = np.random.default_rng([number + 10**6, 1] if is_own else [name, 0])
        n = row["input_tokens"] if is_own else BLOCK
        tokens += draw.integers(1000, 128000, n).tolist()
        if len(tokens) >= row["input_tokens"]:
            break
    return tokens[: row["input_tokens"]]


def started(host_gib: float, gpu_blocks: int):
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    model = tempfile.mkdtemp()
    Path(model, "config.json").write_text(json.dumps(LLAMA_3_1_8B))
    host = {}
    if host_gib:
        host = {
            "kv_offloading_size": host_gib,
            "kv_offloading_backend": "native",
            "disable_hybrid_kv_cache_manager": True,
        }
    arguments = EngineArgs(
        model=model,
        tokenizer=model,
        skip_tokenizer_init=True,
        load_format="dummy",
        dtype="bfloat16",
        max_model_len=64000,
        enable_prefix_caching=True,
        block_size=BLOCK,
        num_gpu_blocks_override=gpu_blocks,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        async_scheduling=False,
        disable_log_stats=True,
        **host,
    )
    return LLMEngine.from_engine_args(arguments)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--host-gib", type=float, default=30.0)
    parser.add_argument("--gpu-blocks", type=int, default=6000)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.workload.read_text().splitlines()]
    prompts = [prompt_of(row, number) for number, row in enumerate(rows)]

    from vllm import SamplingParams
    from vllm.v1.kv_offload.cpu.gpu_worker import SingleDirectionOffloadingHandler

    transfers: list[tuple[float, str, int, float]] = []
    finished = SingleDirectionOffloadingHandler.get_finished

    def note(handler):
        results = finished(handler)
        for each in results:
            to = "host" if handler.gpu_to_cpu else "gpu"
            transfers.append((time.perf_counter(), to, each.transfer_size, each.transfer_time))
        return results

    SingleDirectionOffloadingHandler.get_finished = note
    engine = started(options.host_gib, options.gpu_blocks)
    scheduler = engine.engine_core.engine_core.scheduler
    connector = scheduler.connector
    scheduled: list[int] = []
    schedule = scheduler.schedule

    def count(*args, **named):
        output = schedule(*args, **named)
        scheduled.append(output.total_num_scheduled_tokens)
        return output

    scheduler.schedule = count
    found: dict[str, tuple[int, int]] = {}
    n_deferred: dict[str, int] = {}
    tell, match = connector.update_state_after_alloc, connector.get_num_new_matched_tokens

    def ask(request, n_local):
        answer = match(request, n_local)
        if answer[0] is None:
            key = request.request_id.split("-")[0]
            n_deferred[key] = n_deferred.get(key, 0) + 1
        return answer

    def hear(request, blocks, n_external):
        stats = request.prefill_stats
        if stats is not None:  # None once it was scheduled: a preempted request is not asked again
            key = request.request_id
            found.setdefault(key, (stats.num_local_cached_tokens, n_external))
        return tell(request, blocks, n_external)

    connector.update_state_after_alloc = hear
    connector.get_num_new_matched_tokens = ask

    def send(name: str, prompt: list[int], n_output: int) -> None:
        sampling = SamplingParams(
            max_tokens=n_output,
            min_tokens=n_output,
            ignore_eos=True,
            temperature=0.0,
            detokenize=False,
        )
        engine.add_request(name, {"prompt_token_ids": prompt}, sampling)

    for size in (3000, 5000, 8000):  # compile and capture first
        send(f"warm-{size}", prompt_of({"input_tokens": size, "hash_ids": []}, -size), 20)
    while engine.has_unfinished_requests():
        engine.step()
    engine.reset_prefix_cache()

    started_s = time.perf_counter()
    steps: list[tuple[float, float, int]] = []
    added: list[float] = []
    cached: dict[str, int] = {}
    first: dict[str, float] = {}
    finish: dict[str, float] = {}
    while len(added) < len(rows) or engine.has_unfinished_requests():
        now_s = time.perf_counter() - started_s
        while len(added) < len(rows) and rows[len(added)]["arrival_s"] <= now_s:
            number = len(added)
            send(str(number), prompts[number], rows[number]["output_tokens"])
            added.append(time.perf_counter() - started_s)
        if not engine.has_unfinished_requests():
            time.sleep(min(0.005, max(0.0, rows[len(added)]["arrival_s"] - now_s)))
            continue
        step_s = time.perf_counter() - started_s
        scheduled.clear()
        outputs = engine.step()
        now_s = time.perf_counter() - started_s
        steps.append((step_s, now_s, sum(scheduled)))
        for output in outputs:
            name = output.request_id
            if output.outputs[0].token_ids and name not in first:
                first[name] = now_s
                cached[name] = output.num_cached_tokens
            if output.finished:
                finish[name] = now_s
    with (options.out / "steps.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["start_s", "end_s", "n_tokens"])
        for start_s, end_s, n_tokens in steps:
            out.writerow([f"{start_s:.6f}", f"{end_s:.6f}", n_tokens])
    with (options.out / "transfers.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["seen_s", "to", "n_bytes", "copy_s"])
        for seen_s, to, n_bytes, copy_s in transfers:
            if seen_s > started_s:
                out.writerow([f"{seen_s - started_s:.6f}", to, n_bytes, f"{copy_s:.6f}"])
    by_number = {key.split("-")[0]: value for key, value in found.items()}
    with (options.out / "requests.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for number, row in enumerate(rows):
            name = str(number)
            gpu, host = by_number.get(name, ("", ""))
            out.writerow(
                [
                    f"{added[number]:.6f}",
                    row["input_tokens"],
                    row["output_tokens"],
                    cached[name],
                    gpu,
                    host,
                    f"{first[name]:.6f}",
                    f"{finish[name]:.6f}",
                    n_deferred.get(name, 0),
                ]
            )
    os._exit(0)  # the engine's threads never end


if __name__ == "__main__":
    main()
