"""The command line: parse, call the library, print. No logic of its own."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvsim import ConfigError, KvsimError, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from kvsim.sim.config import RunConfig
    from kvsim.studies.compare import TraceChoice
    from kvsim.traces.schema import Trace

# typer brings its own copy of click or the real one, by its version; this is its root error
_USAGE_ERROR: Any = typer.BadParameter.__mro__[2]
_INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Simulate KV-cache serving: replay request traces, compare eviction policies.",
)
trace_app = typer.Typer(no_args_is_help=True, help="Look at trace files and convert them.")
app.add_typer(trace_app, name="trace")

To = Annotated[
    str | None,
    typer.Option(
        "--to",
        help="parquet, mooncake, qwen-bailian or vidur; default: by the name's end, or parquet.",
    ),
]
Traces = Annotated[list[Path], typer.Argument(help="Trace files; several are parts of one.")]
OneTrace = Annotated[Path, typer.Argument(help="Trace file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TraceBlockSize = Annotated[
    int | None,
    typer.Option(help="Tokens a block id of the trace stands for; default: as the file shows."),
]
Out = Annotated[Path | None, typer.Option(help="Write results and report.html here.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results in --out.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE for the reader (trace formats lists them); repeatable."),
]
Bounds = Annotated[
    bool,
    typer.Option("--bounds", help="Also say what no policy could undercut: prefill time, traffic."),
]
Limit = Annotated[int | None, typer.Option(help="Replay only the first N requests.")]
TimeScale = Annotated[float, typer.Option(help="Multiply arrival times: 2 halves the load.")]
ClusterFile = Annotated[
    Path | None, typer.Option("--cluster", help="TOML file of settings; options override it.")
]
ModelName = Annotated[str | None, typer.Option("--model", help="Model name or HF config.json.")]
Gpu = Annotated[str | None, typer.Option("--gpu", help="GPU and model profile, name or file.")]
Instances = Annotated[int | None, typer.Option(help="Serving instances.")]
Router = Annotated[str | None, typer.Option(help="round-robin, least-loaded or prefix-aware.")]
BlockSize = Annotated[int | None, typer.Option(help="Tokens a KV block of the engine.")]
GpuBlocks = Annotated[
    int | None, typer.Option(help="KV blocks of an instance, vLLM's null block included.")
]
GpuGib = Annotated[float | None, typer.Option(help="KV memory of an instance, GiB.")]
HostGib = Annotated[float | None, typer.Option(help="CPU memory for KV of an instance, GiB.")]
HostBlocks = Annotated[int | None, typer.Option(help="The same in KV blocks.")]
HostPolicy = Annotated[str | None, typer.Option(help="What leaves the CPU's part; as --policy.")]
HostWrite = Annotated[
    str | None, typer.Option(help="What enters it: write-through, write-back or selective.")
]
HostMinHits = Annotated[int | None, typer.Option(help="Reuses before selective stores a block.")]
HostCopies = Annotated[
    str | None, typer.Option(help="scattered: a copy a block and layer; gathered: one a transfer.")
]
PeerGib = Annotated[
    float | None, typer.Option(help="Memory of each GPU for blocks of all GPUs, GiB.")
]
PeerBlocks = Annotated[int | None, typer.Option(help="The same in KV blocks.")]
DiskGib = Annotated[float | None, typer.Option(help="Disk for KV of an instance, GiB.")]
DiskBlocks = Annotated[int | None, typer.Option(help="The same in KV blocks.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any setting of a --cluster file, as disk.gb_per_s=3.5; repeatable."
    ),
]
MaxNumSeqs = Annotated[int | None, typer.Option(help="Requests running at once.")]
MaxBatched = Annotated[int | None, typer.Option(help="Tokens a step may compute.")]
LongPrefill = Annotated[
    int | None, typer.Option(help="Longest prefill chunk beside other requests; 0: no limit.")
]
Watermark = Annotated[float | None, typer.Option(help="Share of blocks kept free at admission.")]
ReserveFull = Annotated[
    bool | None,
    typer.Option(
        "--reserve-full-isl/--no-reserve-full-isl", help="Admit only if the whole prompt fits."
    ),
]
Caching = Annotated[
    bool | None, typer.Option("--prefix-caching/--no-prefix-caching", help="Keep blocks for reuse.")
]
Affine = Annotated[
    str | None,
    typer.Option(help="Step seconds a,b,c,d: a + b*prefill + c*decode_seqs + d*context."),
]
ClosedLoop = Annotated[
    bool | None,
    typer.Option("--closed-loop/--open-loop", help="A session's next turn waits for its last."),
]
SloTtft = Annotated[float | None, typer.Option(help="TTFT that counts as good, seconds.")]
SloTpot = Annotated[float | None, typer.Option(help="TPOT that counts as good, seconds.")]
Seed = Annotated[int | None, typer.Option(help="Seed of all randomness.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def replay(
    traces: Traces,
    policy: Annotated[
        str | None,
        typer.Option(help="NAME, FILE.py:Class or pkg.mod:Class, then ,parameter=value ..."),
    ] = None,
    cluster: ClusterFile = None,
    model: ModelName = None,
    gpu: Gpu = None,
    instances: Instances = None,
    router: Router = None,
    block_size: BlockSize = None,
    gpu_blocks: GpuBlocks = None,
    gpu_gib: GpuGib = None,
    host_gib: HostGib = None,
    host_blocks: HostBlocks = None,
    host_policy: HostPolicy = None,
    host_write: HostWrite = None,
    host_min_hits: HostMinHits = None,
    host_copies: HostCopies = None,
    peer_gib: PeerGib = None,
    peer_blocks: PeerBlocks = None,
    disk_gib: DiskGib = None,
    disk_blocks: DiskBlocks = None,
    settings: Set = None,
    max_num_seqs: MaxNumSeqs = None,
    max_num_batched_tokens: MaxBatched = None,
    long_prefill_token_threshold: LongPrefill = None,
    watermark: Watermark = None,
    reserve_full_isl: ReserveFull = None,
    prefix_caching: Caching = None,
    latency_affine: Affine = None,
    trace_block_size: TraceBlockSize = None,
    limit: Limit = None,
    time_scale: TimeScale = 1.0,
    closed_loop: ClosedLoop = None,
    slo_ttft: SloTtft = None,
    slo_tpot: SloTpot = None,
    seed: Seed = None,
    why: Annotated[bool, typer.Option("--why", help="Say why look-ups missed.")] = False,
    bounds: Bounds = False,
    check: Annotated[bool, typer.Option("--check", help="Check invariants afterwards.")] = False,
    decision_log: Annotated[
        Path | None, typer.Option(help="Write the scheduler's decisions, one line a step.")
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Replay a trace through a simulated cluster and print what happened."""
    config = _config(locals())
    from kvsim.policies import make_policy
    from kvsim.sim.results import write_run
    from kvsim.sim.router import router_code
    from kvsim.studies.replay import resolve, run_replay
    from kvsim.traces.compiled import load_compiled

    make_policy(config.policy)
    make_policy(config.host.policy)
    router_code(config.cluster.router)
    resolve(config)
    with _output(out, overwrite=overwrite) as directory, _progress() as progress:
        compiled = load_compiled(
            traces, block_size=config.engine.block_size, trace_block_size=trace_block_size
        )
        if limit is not None:
            compiled = compiled.head(limit)
        result = run_replay(
            compiled.scaled(time_scale),
            config,
            with_curve=directory is not None,
            check=check,
            is_logged=decision_log is not None,
            log_path=decision_log,
            why=why,
            with_limits=bounds,
            progress=progress,
        )
        if directory is not None:
            from kvsim.reports.html import write_report

            write_run(result, directory)
            write_report(directory)
    if json:
        _print_json(result.summary)
    else:
        from kvsim.reports.terminal import show_run

        show_run(result.summary, _console())
        for note in compiled.trace.notes:
            print(f"note: {note}")
        if out is not None:
            print(f"report: {out / 'report.html'}")


@app.command()
def compare(
    traces: Traces,
    policy: Annotated[list[str], typer.Option(help="As for replay; give it once a policy.")],
    cluster: ClusterFile = None,
    model: ModelName = None,
    gpu: Gpu = None,
    instances: Instances = None,
    router: Router = None,
    block_size: BlockSize = None,
    gpu_blocks: Annotated[
        str | None,
        typer.Option(help="As for replay; several, comma-separated, compare at each size."),
    ] = None,
    gpu_gib: GpuGib = None,
    host_gib: HostGib = None,
    host_blocks: HostBlocks = None,
    host_policy: HostPolicy = None,
    host_write: HostWrite = None,
    host_min_hits: HostMinHits = None,
    host_copies: HostCopies = None,
    peer_gib: PeerGib = None,
    peer_blocks: PeerBlocks = None,
    disk_gib: DiskGib = None,
    disk_blocks: DiskBlocks = None,
    settings: Set = None,
    max_num_seqs: MaxNumSeqs = None,
    max_num_batched_tokens: MaxBatched = None,
    latency_affine: Affine = None,
    trace_block_size: TraceBlockSize = None,
    limit: Limit = None,
    time_scale: TimeScale = 1.0,
    closed_loop: ClosedLoop = None,
    slo_ttft: SloTtft = None,
    slo_tpot: SloTpot = None,
    seed: Seed = None,
    workers: Annotated[int, typer.Option(help="Processes.")] = 1,
    bounds: Bounds = False,
    overhead: Annotated[
        bool, typer.Option("--overhead", help="Also measure each policy's time an eviction here.")
    ] = False,
    out: Out = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Replay a trace under several policies, side by side, with the bound."""
    sizes = [] if gpu_blocks is None else _whole_numbers("--gpu-blocks", gpu_blocks)
    if any(size < 2 for size in sizes):
        raise ConfigError(
            f"--gpu-blocks must be at least 2 (one is the null block), got {min(sizes)}"
        )
    config = _config(locals() | {"policy": None, "gpu_blocks": sizes[0] if sizes else None})
    from kvsim.policies import make_policy
    from kvsim.sim.results import write_run
    from kvsim.sim.router import router_code
    from kvsim.studies import compare as study
    from kvsim.studies.replay import resolve

    for one in policy:
        make_policy(one)
    router_code(config.cluster.router)
    resolve(config)
    if workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    choice: TraceChoice = study.TraceChoice(
        paths=tuple(traces),
        trace_block_size=trace_block_size,
        limit=limit,
        time_scale=time_scale,
    )
    summaries: list[dict[str, Any]] = []
    names: list[str] = []
    paired = study.Paired(seed=config.seed)
    runs = study.compare(choice, config, policy, sizes, workers=workers, with_limits=bounds)
    with _output(out, overwrite=overwrite) as directory:
        for result in runs:
            summary = result.summary
            summaries.append(summary | {"paired": paired.add(result)})
            size = summary["gpu_blocks"] if len(sizes) > 1 else None
            names.append(study.directory_name(summary["policy"], names, size))
            if directory is not None:
                (directory / names[-1]).mkdir()
                write_run(result, directory / names[-1])
        if directory is not None:
            import json as json_format

            from kvsim.reports.html import write_report

            differences = [summary["paired"] for summary in summaries]
            index = {"trace": summaries[0]["trace"], "runs": names, "paired": differences}
            (directory / "compare.json").write_text(json_format.dumps(index, indent=1) + "\n")
            write_report(directory)
    if json:
        _print_json(summaries)
    else:
        from kvsim.reports.comparison import show_comparison

        costs_us = study.overheads_us(choice, config, summaries) if overhead else None
        show_comparison(summaries, _console(), costs_us)
        if out is not None:
            print(f"report: {out / 'report.html'}")


@app.command()
def mrc(
    traces: Traces,
    block_size: BlockSize = None,
    capacities: Annotated[
        str | None, typer.Option(help="Blocks, comma-separated; default: a curve over all sizes.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="Also replay this policy; may be repeated.")
    ] = None,
    trace_block_size: TraceBlockSize = None,
    limit: Limit = None,
    seed: Seed = None,
    json: AsJson = False,
) -> None:
    """Hit ratio over cache size: exact LRU and the optimum; other policies by cache replay."""
    from kvsim.studies.curves import check_names_blocks
    from kvsim.studies.mrc import miss_ratio_curve
    from kvsim.traces.compiled import load_compiled

    points = None if capacities is None else _whole_numbers("--capacities", capacities)
    if block_size is not None and block_size < 1:
        raise ConfigError(f"--block-size must be at least 1 token, got {block_size}")
    _say_if_it_compiles()
    compiled = load_compiled(
        traces, block_size=block_size, trace_block_size=trace_block_size, partial_blocks=True
    )
    if limit is not None:
        compiled = compiled.head(limit)
    check_names_blocks(compiled)
    curve = miss_ratio_curve(compiled, points, policy or (), seed=seed or 0)
    if json:
        _print_json(curve)
    else:
        from kvsim.reports.terminal import show_curve

        show_curve(curve, _console())


@app.command()
def bound(
    traces: Traces,
    gpu_blocks: Annotated[int, typer.Option(help="Usable KV blocks on the GPU.")],
    host_blocks: Annotated[int, typer.Option(help="KV blocks in host memory below it.")] = 0,
    disk_blocks: Annotated[int, typer.Option(help="KV blocks on disk below that.")] = 0,
    block_size: BlockSize = None,
    gpu: Gpu = None,
    model: ModelName = None,
    latency_affine: Affine = None,
    host_gb_per_s: Annotated[
        float | None,
        typer.Option(
            help="Bandwidth each way between host memory and GPU, GB/s; default: the profile's."
        ),
    ] = None,
    disk_gb_per_s: Annotated[
        float, typer.Option(help="Bandwidth each way between disk and host memory, GB/s.")
    ] = 6.0,
    trace_block_size: TraceBlockSize = None,
    limit: Limit = None,
    json: AsJson = False,
) -> None:
    """The best that a cache of these sizes could do: hits by tier, recompute time, traffic."""
    from kvsim.studies.bound import bound as tabulate
    from kvsim.studies.bound import hardware
    from kvsim.traces.compiled import load_compiled

    capacities = _tiers(gpu=gpu_blocks, host=host_blocks, disk=disk_blocks)
    chosen = {"gpu": gpu, "model": model, "latency_affine": latency_affine}
    bandwidths = {"host": host_gb_per_s, "disk": disk_gb_per_s}
    found = hardware(_config(chosen), gb_per_s=bandwidths)
    if block_size is not None and block_size < 1:
        raise ConfigError(f"--block-size must be at least 1 token, got {block_size}")
    compiled = load_compiled(
        traces, block_size=block_size, trace_block_size=trace_block_size, partial_blocks=True
    )
    if limit is not None:
        compiled = compiled.head(limit)
    table = tabulate(compiled, capacities, found)
    if json:
        _print_json(table)
    else:
        from kvsim.reports.bound_table import show_bound

        show_bound(table, _console())


def _tiers(**blocks: int) -> dict[str, int]:
    """Return the tiers there are, by name: 0 blocks is none, but for the GPU."""
    for name, n in blocks.items():
        least = 1 if name == "gpu" else 0
        if n < least:
            raise ConfigError(f"--{name}-blocks must be at least {least}, got {n}")
    return {name: n for name, n in blocks.items() if n}


@app.command()
def policies(json: AsJson = False) -> None:
    """Every eviction policy, those of installed packages too: name, kind, one line."""
    from kvsim import PolicyError
    from kvsim.policies import POLICIES, find_policy, installed_policies

    rows = []
    for name in (*POLICIES, *installed_policies()):
        try:
            found = find_policy(name)
        except PolicyError as error:  # of a package that is not ours
            rows.append((name, "broken", str(error)))
            continue
        rows.append((name, found.kind(), found.summary()))
    if json:
        keys = ("name", "kind", "summary")
        _print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        from kvsim.reports.terminal import show_policies

        show_policies(rows, _console())


@app.command()
def report(directory: Annotated[Path, typer.Argument(help="What --out wrote.")]) -> None:
    """Write report.html for a run or a comparison."""
    from kvsim.reports.html import write_report

    print(write_report(directory))


@app.command()
def warmup(
    policies: Annotated[
        list[str] | None,
        typer.Argument(help="Also what a replay of these policies on a cache alone takes."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Everything: all policies, bounds, descriptions.")
    ] = False,
) -> None:
    """Compile what a replay needs once, so that later runs start at once.

    What else there is, is compiled when it is first used: a policy's own code in 0.2 to 2 s.
    """
    from kvsim.policies import POLICIES
    from kvsim.studies.warmup import warm_up

    for name, seconds in warm_up(POLICIES if every else policies or (), with_studies=every):
        print(f"{name:<40}{seconds:6.1f} s")


@trace_app.command("describe")
def trace_describe(
    trace: Traces,
    trace_block_size: TraceBlockSize = None,
    limit: Annotated[int | None, typer.Option(help="Describe only the first N requests.")] = None,
    html: Annotated[bool, typer.Option("--html", help="Also write a page of figures.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The page's file; default: NAME.html in this folder.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page if it exists.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Say what a trace holds: arrivals, lengths, turns, reuse, and the memory that takes."""
    from kvsim.studies.characterisation import load_for_study, study_trace

    page = None
    if html or out is not None:
        page = out or Path(f"{trace[0].name.partition('.')[0] or 'trace'}.html")
        _check_free(page, overwrite)
    _say_if_it_compiles()
    study = study_trace(load_for_study(trace, trace_block_size=trace_block_size, limit=limit))
    if page is not None:
        from kvsim.reports.description.page import write_page

        write_page(study, page)
    if json:
        _print_json(study.to_dict())
    else:
        from kvsim.reports.description.tables import show_description

        show_description(study.to_dict(), _console())
        if page is not None:
            print(f"page: {page}")


@trace_app.command("convert")
def trace_convert(
    trace: Traces,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; default: the last of the files.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Format to write; default: by the name's end. See trace formats."
        ),
    ] = None,
    trace_block_size: TraceBlockSize = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a trace in another format."""
    from kvsim.traces.formats import format_of_name, read_traces, write_trace

    if out is None and len(trace) > 1:
        *trace, out = trace
    if out is None:
        raise ConfigError("convert needs a file to write: kvsim trace convert IN... OUT")
    _check_free(out, overwrite, instead="name")
    to = to or format_of_name(out)
    found = read_traces(trace, block_size=trace_block_size, settings=_settings(settings))
    write_trace(found, out, to)
    _say_written(found, out, to)
    for reason, n in found.dropped.items():
        print(f"left out: {n:,} rows with {reason}")
    for note in found.notes:
        print(f"note: {note}")


@trace_app.command("formats")
def trace_formats(json: AsJson = False) -> None:
    """List the trace formats: which are read and written, and what can be set."""
    from kvsim.traces.formats import FORMATS, settings_of

    rows = [
        {
            "name": name,
            "what": known.what,
            "written": known.write is not None,
            "extensions": list(known.extensions),
            "settings": settings_of(name),
        }
        for name, known in FORMATS.items()
    ]
    if json:
        _print_json(rows)
    else:
        from kvsim.reports.trace_tables import show_formats

        show_formats(rows, _console())


@trace_app.command("doctor")
def trace_doctor(
    trace: Traces,
    fix: Annotated[
        Path | None, typer.Option("--fix", help="Write a corrected trace to this file.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave out this check, and its fix; may be repeated.")
    ] = None,
    trace_block_size: TraceBlockSize = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Say what is wrong with a trace and what it would do to results; exit status 1 if it would."""
    from kvsim.traces.doctor import examine, fixed, load
    from kvsim.traces.formats import format_of_name, write_trace

    if fix is not None:
        _check_free(fix, overwrite, instead="--fix")
        to = format_of_name(fix)
    rows, found = load(trace, _settings(settings))
    report = examine(rows, block_size=trace_block_size, skip=skip or (), found=found)
    if fix is not None:
        write_trace(fixed(rows, report, block_size=trace_block_size), fix, to)
    if json:
        _print_json(report.to_dict())
    else:
        from kvsim.reports.trace_tables import show_findings

        show_findings(report.to_dict(), _console())
        if fix is not None:
            print(f"corrected: {fix}")
            if report.unfixable:
                print(f"no fix can put right: {', '.join(report.unfixable)}")
    if report.changes_results:
        raise typer.Exit(1)


def _say_written(trace: Trace, out: Path, to: str) -> None:
    from kvsim.traces.formats import FORMATS

    print(f"{out}: {len(trace):,} requests, {out.stat().st_size:,} bytes")
    if len(trace.block_ids) and not FORMATS[to].has_blocks:
        print(f"note: {to} files hold no block ids: nothing hits in what was written")


def _settings(given: list[str] | None) -> dict[str, str]:
    """Split NAME=VALUE."""
    found = {}
    for one in given or ():
        name, sign, value = one.partition("=")
        if not sign:
            raise ConfigError(f"--set must be NAME=VALUE, got {one!r}")
        found[name] = value
    return found


@trace_app.command("generate")
def trace_generate(
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    workload: Annotated[
        str | None,
        typer.Argument(help="chat, single, agents, qwen-a, qwen-b, qwen-thinking or qwen-coder."),
    ] = None,
    workload_file: Annotated[
        Path | None,
        typer.Option("--workload", help="A workload of your own, TOML, as `trace workload` prints"),
    ] = None,
    twin: Annotated[
        Path | None, typer.Option("--from", help="Draw from what `trace fit` wrote instead.")
    ] = None,
    factor: Annotated[float, typer.Option(help="With --from: multiple of the rate.")] = 1.0,
    window: Annotated[
        float | None, typer.Option(help="With --from: seconds within which sessions swap starts.")
    ] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="With --from: draw sessions with replacement.")
    ] = False,
    rate: Annotated[float | None, typer.Option(help="Sessions that begin a second.")] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    requests: Annotated[int | None, typer.Option(help="Instead: so many requests.")] = None,
    arrivals: Annotated[str | None, typer.Option(help="poisson, gamma or weibull.")] = None,
    cv: Annotated[
        float | None, typer.Option(help="Variation of gamma and weibull gaps; above 1: bursts.")
    ] = None,
    trend: Annotated[float | None, typer.Option(help="Rate at the end over the start.")] = None,
    swing: Annotated[float | None, typer.Option(help="Daily swing of the rate, 0 to 1.")] = None,
    day: Annotated[float | None, typer.Option(help="Length of the day of the swing, s.")] = None,
    spikes: Annotated[
        str | None, typer.Option(help="NUMBER,SECONDS,FACTOR: times of a higher rate.")
    ] = None,
    block_size: BlockSize = None,
    to: To = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a synthetic trace: of a named workload, or from another trace's twin."""
    _check_free(out, overwrite)
    if [workload, workload_file, twin].count(None) != 2:
        raise ConfigError("give a workload or --workload or --from, one of the three")
    from kvsim.traces.formats import format_to_write, write_trace

    to = format_to_write(out, to)
    if twin is not None:
        from kvsim.traces.twin.draw import WINDOW_S, draw
        from kvsim.traces.twin.files import read_twin

        made = draw(
            read_twin(twin),
            factor=factor,
            window_s=WINDOW_S if window is None else window,
            seed=seed or 0,
            bootstrap=bootstrap,
            name=out.name,
        )
    else:
        from kvsim.traces.generate.arrivals import Spikes
        from kvsim.traces.generate.presets import generate_requests, preset, shaped
        from kvsim.traces.generate.sessions import generate
        from kvsim.traces.generate.workload_files import read_workload

        chosen = shaped(
            preset(workload or "") if workload_file is None else read_workload(workload_file),
            per_s=rate,
            duration_s=duration,
            process=arrivals,
            cv=cv,
            trend=trend,
            swing=swing,
            day_s=day,
            spikes=None if spikes is None else Spikes.parse(spikes),
            block_size=block_size,
        )
        if requests is not None and duration is not None:
            raise ConfigError("give --duration or --requests, not both")
        if requests is None:
            made = generate(chosen, seed=seed or 0)
        else:
            made = generate_requests(chosen, requests, seed=seed or 0)
    write_trace(made, out, to)
    _say_written(made, out, to)


@trace_app.command("workload")
def trace_workload(
    name: Annotated[str, typer.Argument(help="As of trace generate.")],
) -> None:
    """Print a named workload as TOML, to change and to give to `trace generate --workload`."""
    from kvsim.traces.generate.presets import preset
    from kvsim.traces.generate.workload_files import workload_text

    print(workload_text(preset(name)), end="")


@trace_app.command("fit")
def trace_fit(
    trace: Traces,
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    many: Annotated[
        int, typer.Option(help="Sessions that share a block before it is common to all.")
    ] = 10,
    certificate: Annotated[
        bool, typer.Option("--certificate/--no-certificate", help="Say how close the twin is.")
    ] = True,
    gpu: Gpu = None,
    model: ModelName = None,
    instances: Instances = None,
    router: Router = None,
    engine_block_size: Annotated[
        int | None, typer.Option("--block-size", help="Tokens a KV block of the engine.")
    ] = None,
    gpu_blocks: GpuBlocks = None,
    gpu_gib: GpuGib = None,
    trace_block_size: TraceBlockSize = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Make a trace's twin, which `trace generate --from` draws from, and certify it."""
    _check_free(out, overwrite)
    served: dict[str, Any] = {"gpu": gpu, "model": model, "instances": instances, "router": router}
    served |= {"gpu_blocks": gpu_blocks, "gpu_gib": gpu_gib, "block_size": engine_block_size}
    config = _config(served)
    from kvsim.traces.formats import read_traces
    from kvsim.traces.twin.draw import draw
    from kvsim.traces.twin.files import write_twin
    from kvsim.traces.twin.fit import fit
    from kvsim.traces.twin.summary import summarise_twin

    found = read_traces(trace, block_size=trace_block_size)
    twin = fit(found, many=many)
    told: dict[str, Any] = {"fit": summarise_twin(twin)}
    if certificate:
        from kvsim.studies.certificate import certify

        told["certificate"] = certify(found, draw(twin, seed=seed or 0), config).to_dict()
    write_twin(twin, out)
    if json:
        _print_json(told)
    else:
        from kvsim.reports.certificate import show_fit

        show_fit(told, _console())
        print(f"{out}: {out.stat().st_size:,} bytes")


@trace_app.command("transform")
def trace_transform(
    traces: Annotated[list[Path], typer.Argument(help="Trace files; with --merge one trace each.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Put the files together as traces of their own.")
    ] = False,
    start: Annotated[float | None, typer.Option(help="Leave out what arrives before, s.")] = None,
    end: Annotated[float | None, typer.Option(help="Leave out what comes from then on, s.")] = None,
    thin: Annotated[float | None, typer.Option(help="Keep this share of the sessions.")] = None,
    resample: Annotated[
        float | None, typer.Option(help="Draw so many times as many sessions, with replacement.")
    ] = None,
    time_scale: TimeScale = 1.0,
    reblock: Annotated[int | None, typer.Option(help="Tokens of a block id in the output.")] = None,
    anonymise: Annotated[
        bool,
        typer.Option(
            "--anonymise", help="Replace names and ids by numbers, but not types; start at 0."
        ),
    ] = False,
    to: To = None,
    trace_block_size: TraceBlockSize = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
) -> None:
    """Change a trace: merge, slice, thin, resample, scale, re-block, anonymise, in this order."""
    _check_free(out, overwrite)
    from kvsim.traces import change, transform
    from kvsim.traces.formats import format_to_write, read_traces, write_trace

    to = format_to_write(out, to)
    groups = [[path] for path in traces] if merge else [traces]
    parts = [read_traces(group, block_size=trace_block_size) for group in groups]
    found = transform.merge(parts) if merge else parts[0]
    if start is not None or end is not None:
        found = transform.slice_time(
            found,
            float("-inf") if start is None else start,
            float("inf") if end is None else end,
        )
    if thin is not None:
        found = change.thin(found, thin, seed=seed or 0)
    if resample is not None:
        found = change.resample(found, factor=resample, seed=seed or 0)
    if time_scale != 1.0:
        found = found.scaled(time_scale)
    if reblock is not None:
        found = change.reblock(found, reblock)
    if anonymise:
        found = change.anonymise(found)
    write_trace(found, out, to)
    _say_written(found, out, to)


@trace_app.command("slice")
def trace_slice(
    trace: Traces,
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    start: Annotated[float, typer.Option(help="First second kept.")] = float("-inf"),
    end: Annotated[float, typer.Option(help="First second left out.")] = float("inf"),
    to: To = None,
    trace_block_size: TraceBlockSize = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the requests of a trace that arrive within a time."""
    trace_transform(
        trace,
        out,
        start=start,
        end=end,
        to=to,
        trace_block_size=trace_block_size,
        overwrite=overwrite,
    )


_SETTING_OF = {"gpu": "profile", "slo_ttft": "slo_ttft_s", "slo_tpot": "slo_tpot_s"}
"""Settings whose options have another name."""


def _config(options: Mapping[str, Any]) -> RunConfig:
    """Put options over the settings of a file over the defaults; others than settings are left."""
    from dataclasses import fields, replace

    from kvsim.sim.config import (
        ClusterConfig,
        DiskConfig,
        EngineConfig,
        HostConfig,
        PeerConfig,
        RunConfig,
        check_tiers,
        load_config,
        with_settings,
    )

    values = {
        _SETTING_OF.get(name, name): value
        for name, value in options.items()
        if value is not None and name not in ("cluster", "settings")
    }

    def given(section: type[Any], prefix: str = "") -> dict[str, Any]:
        names = {field.name: prefix + field.name for field in fields(section)}
        return {field: values[name] for field, name in names.items() if name in values}

    file = options.get("cluster")
    base = RunConfig() if file is None else load_config(file)
    base = with_settings(base, options.get("settings") or ())
    if values.get("gpu_blocks") == 0:
        raise ConfigError("--gpu-blocks must be at least 2 (one is the null block), got 0")
    gpu_gib = values.get("gpu_gib")
    if gpu_gib is not None and not 0 < gpu_gib < float("inf"):
        raise ConfigError(f"--gpu-gib must be positive and finite, got {gpu_gib:g}")
    config = replace(
        base,
        cluster=replace(base.cluster, **given(ClusterConfig)),
        engine=replace(base.engine, **given(EngineConfig)),
        peer=replace(base.peer, **given(PeerConfig, "peer_")),
        host=replace(base.host, **given(HostConfig, "host_")),
        disk=replace(base.disk, **given(DiskConfig, "disk_")),
        **given(RunConfig),
    )
    check_tiers(config)
    _say_if_it_compiles()
    return config


def _say_if_it_compiles() -> None:
    """Explain the wait of a first run, where a person is watching."""
    from kvsim.kernels.kept import kept_folder

    if sys.stderr.isatty() and not kept_folder().exists():
        print("compiling the simulator; this happens once, and takes some 15 s", file=sys.stderr)


def _whole_numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{option} must be whole numbers, comma-separated, got {text!r}"
        ) from None


class _output:  # noqa: N801  (a context manager used like a function)
    """The directory to write to, or None; it appears only if the block ends well."""

    def __init__(self, out: Path | None, *, overwrite: bool) -> None:
        from kvsim.sim.results import OutputDirectory

        self._inner = None if out is None else OutputDirectory(out, overwrite=overwrite)

    def __enter__(self) -> Path | None:
        return None if self._inner is None else self._inner.path

    def __exit__(self, *error: object) -> None:
        if self._inner is not None:
            self._inner.__exit__(*error)


class _progress:  # noqa: N801
    """Watch a run: a line on stderr that says how far it is, and no interrupt gets lost.

    An interrupt that arrives just where compiled code calls a policy written in Python is
    raised inside ctypes, which drops it; so it is noted, and raised again at the next report.
    """

    def __enter__(self) -> Callable[[int, int, float], None]:
        self._is_shown = sys.stderr.isatty()
        self._is_interrupted = False
        self._restored = (signal.getsignal(signal.SIGINT), sys.unraisablehook)
        signal.signal(signal.SIGINT, self._interrupt)
        sys.unraisablehook = self._dropped
        return self._report

    def _interrupt(self, number: int, frame: object) -> None:
        self._is_interrupted = True
        raise KeyboardInterrupt

    def _dropped(self, what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, KeyboardInterrupt):
            self._restored[1](what)

    def _report(self, done: int, total: int, now_s: float) -> None:
        if self._is_interrupted:
            raise KeyboardInterrupt
        if self._is_shown:
            share = done / total if total else 1.0
            print(
                f"\r{share:4.0%} {done:,} of {total:,} requests, {now_s:,.0f} s simulated",
                end="\x1b[K",
                file=sys.stderr,
            )

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._restored[0])
        sys.unraisablehook = self._restored[1]
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr)


def _check_free(file: Path, overwrite: bool, instead: str = "--out") -> None:
    """Refuse to replace a file, unless that is asked for; `instead` says what to change."""
    if file.exists() and not overwrite:
        raise ConfigError(f"{file}: already exists; choose another {instead}, or pass --overwrite")


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _print_json(value: object) -> None:
    import json as json_format

    print(json_format.dumps(value, indent=1))


def main() -> None:
    """Run the command line; what the user can fix is one line on stderr and exit status 2."""
    # What a start imports stays: to look for garbage in it again and again takes a tenth of it.
    gc.set_threshold(100_000, 20, 20)
    try:
        status = app(standalone_mode=False)
    except KvsimError as error:
        status = _fail(str(error))
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help, in lines
            print(error.format_message(), file=sys.stderr)
            status = 2
        else:
            status = _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        status = 1
    if status == _INTERRUPTED:  # some typers turn an interrupt into this status, silently
        print("kvsim: interrupted; nothing was written", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> int:
    line = " ".join(message.split())
    print(f"kvsim: error: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
