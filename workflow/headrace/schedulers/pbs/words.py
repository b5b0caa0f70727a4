"""What PBS says when it refuses a job or lets it wait, and what to change then."""

from __future__ import annotations

import re
from collections.abc import Mapping

PROFILE = "workflow/profiles/pbs/config.yaml"
IN_PROFILE = f"in {PROFILE}"
WHO_PAYS = r"(account|project|budget|allocation)"
REFUSALS: Mapping[str, str] = {
    r"unknown queue|invalid (queue|partition)|no default queue|queue is not enabled": (
        f"set `pbs_queue` {IN_PROFILE} to one that `qstat -Q` lists as enabled"
    ),
    rf"(valid|unknown|missing|specify|no such) {WHO_PAYS}\b|\b{WHO_PAYS} .*(required|valid|missing)": (
        f"set `pbs_account` {IN_PROFILE}; where the site wants `-P`, set `pbs_options: -P PROJECT`"
    ),
    r"access to queue|unauthorized|not authori[sz]ed|rejected by all possible destinations": (
        f"set `pbs_queue` {IN_PROFILE} to a queue that you may use and whose limits hold the job: `qstat -Q -f` tells"
    ),
    r"walltime|time limit": f"lower `runtime` {IN_PROFILE}, or choose a queue that allows more in `pbs_queue`",
    r"resource limits|exceeds|node configuration is not available|not be satisfied|locate feasible nodes": (
        f"lower `mem_mb`, `threads`, `runtime` or `gpu` of the rule {IN_PROFILE}, or choose another `pbs_queue`"
    ),
    r"resource.*gpus?\b": f"this site calls its GPUs otherwise: set `gpu: 0` and name them in `pbs_chunk` {IN_PROFILE}",
    r"unknown resource|illegal attribute|illegal -": f"look at `pbs_options` and `pbs_chunk` {IN_PROFILE}",
}
"""What to change, by qsub's words."""
FULL = re.compile(r"would exceed .*limit|maximum number of jobs|too many (submit|queued)|MaxSubmit|JobLimit", re.I)
"""So many jobs are queued that no more are taken: a state that passes, and no fault of the job's."""
AWAY = re.compile(r"cannot connect|connection refused|unable to contact|no route to host", re.I)
"""The server is away, and has not taken the job."""

QUEUE = f"another `pbs_queue` (of Dask workers: `dask_options: partition=...`) {IN_PROFILE}"
LESS = f"lower `mem_mb`, `threads`, `gpu` (of Dask workers: `dask_worker_mem_mb`, `dask_workers`) {IN_PROFILE}"
WAITS: Mapping[str, str] = {
    r"Hold_Types.*s.*failed attempts|too many failed attempts": (
        "its start failed again and again and PBS holds it: `qrls JOB` tries again; ask the site's support if that "
        "fails too"
    ),
    r"^held \(Hold_Types: \w*[so]": "an administrator holds it: ask the site's support",
    r"^held \(Hold_Types: \w*u": "it is held: `qrls JOB` lets it go",
    r"can never run.*resource: (walltime|cput)|exceeds .*walltime": f"lower `runtime` {IN_PROFILE}, or choose {QUEUE}",
    r"can never run": f"no node has what it asks for: {LESS}, or choose {QUEUE}",
    r"no suitable nodes|not enough of the right type|resources? .*never": (
        f"no node has what it asks for: {LESS}, or choose {QUEUE}"
    ),
    r"queue .*not (started|enabled)|server is not scheduling": f"its queue starts no jobs now: wait, or choose {QUEUE}",
    r"resource: qlist": f"that queue takes only jobs that another one hands on: choose {QUEUE}",
    r"dedicated time|cross.*(prime|boundary)|conflict with reservation": (
        f"it would run into a time that is set aside: wait, or lower `runtime` {IN_PROFILE}"
    ),
    r"dependency": "it waits for a job that has not ended well: `qdel JOB`",
    r"budget|allocation.*(exhausted|used|negative)": (
        "the computing time is used up: change `pbs_account` (of Dask workers: `dask_options: account=...`) "
        f"{IN_PROFILE}"
    ),
}
"""What to change, by the queue's own words; for anything else waiting is all."""
GONE = re.compile(r"unknown job|has finished|invalid state|invalid for state|does not exist|already", re.IGNORECASE)
"""What qdel says of jobs that have ended."""


def refusal_words(output: str, errors: str) -> str:
    """What qsub says when it refuses, on one line; SLURM's wrapper says it behind its own command line."""
    words = " ".join(f"{errors}\n{output.partition('and the output was:')[2] or output}".split())
    return words.strip("' ") or "no message"


def explain_refusal(words: str) -> str:
    """What to change so that qsub takes the job; empty where its own words are all there is to say."""
    return next((advice for pattern, advice in REFUSALS.items() if re.search(pattern, words, re.IGNORECASE)), "")


def explain_waiting(reason: str) -> str:
    """What to change so that a job starts that waits for this reason; empty when waiting is all."""
    return next((advice for words, advice in WAITS.items() if re.search(words, reason, re.IGNORECASE)), "")


def deletion_trouble(output: str) -> str:
    """What qdel complains about, but for jobs that have ended."""
    return " ".join(line.strip() for line in output.splitlines() if line.strip() and not GONE.search(line))
