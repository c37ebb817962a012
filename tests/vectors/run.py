#!/usr/bin/env python3
"""Runs the golden cases against a binary and holds the result against waiting.toml.

    tests/vectors/run.py --bin PATH [--kind ecs|router|forward|outputs]... [--jobs N] [--cases FOLDER]

PATH is reached through a link called `fluent-bit`, so the binary speaks Fluent Bit's dialect. The runners and cases
stand in FOLDER (default: $FIRELANE_VECTORS or ../shared/vectors beside the repository). An unlisted case that fails is
run once more by itself, and that is said: the runners use timers, and a loaded machine may be late.
Prints `KIND: N passed, M waiting` and exits with 1 if the set of failing cases is not the listed one.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
RUNNERS = {
    "ecs": "run_ecs_vectors.py",
    "router": "run_router_vectors.py",
    "forward": "run_forward_vectors.py",
    "outputs": "run_output_vectors.py",
}


def cases(kind, folder):
    """Name -> path of every case of a kind."""
    found = {}
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if kind == "forward":
            if entry.endswith(".json"):
                found[entry[: -len(".json")]] = path
        elif any(os.path.exists(os.path.join(path, mark)) for mark in ("case.json", "context.json")):
            found[entry] = path
    return found


def run(kind, vectors, binary, jobs, target):
    """Runs a runner; gives the failing cases with what it said of each, and the number it says passed."""
    command = [sys.executable, os.path.join(vectors, RUNNERS[kind])]
    command += ["--bin", binary, target] if kind == "ecs" else ["--bin", binary, "-j", str(jobs), target]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", stdin=subprocess.DEVNULL)
    failed, name = {}, None
    for line in done.stdout.splitlines():
        start = re.match(r"FAIL ([^\s:]+):?(.*)$", line)
        if start:
            name = start.group(1)
            failed[name] = [start.group(2).strip()]
        elif name and not re.match(r"\d+ passed, \d+ failed$", line):
            failed[name].append(line)
    summary = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.M)
    if not summary or int(summary.group(2)) != len(failed):
        print(done.stdout[-4000:])
        sys.exit("%s: the runner ended with %s and no summary that fits" % (kind, done.returncode))
    return failed, int(summary.group(1))


def check(kind, vectors, binary, jobs, waiting):
    """Prints what is wrong; true if the failing cases are exactly the waiting ones."""
    start = time.monotonic()
    folder = os.path.join(vectors, kind)
    known = cases(kind, folder)
    failed, passed = run(kind, vectors, binary, jobs, folder)
    if passed + len(failed) != len(known):
        sys.exit("%s: %d cases ran, %d stand in %s" % (kind, passed + len(failed), len(known), folder))
    # Nothing of the control side depends on time.
    for name in [] if kind == "ecs" else sorted(set(failed) - set(waiting)):
        again, _ = run(kind, vectors, binary, 1, known[name])
        if not again:
            print("%s: %s failed once and passed alone; it said: %s" % (kind, name, " ".join(failed[name])[:600]))
            del failed[name]
    good = True
    for name in sorted(set(failed) - set(waiting)):
        good = False
        print("%s: FAIL %s\n    %s" % (kind, name, "\n    ".join(failed[name])[:4000]))
    for name in sorted(set(waiting) - set(failed)):
        good = False
        what = "passes: take it out of" if name in known else "does not exist but stands in"
        print("%s: FAIL %s %s waiting.toml" % (kind, name, what))
    seconds = time.monotonic() - start
    passed = len(known) - len(failed)
    print("%s: %d passed, %d waiting (%.0f s)" % (kind, passed, len(set(failed) & set(waiting)), seconds))
    sys.stdout.flush()
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--kind", action="append", choices=sorted(RUNNERS))
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 2))
    default = os.path.join(ROOT, "..", "shared", "vectors")
    parser.add_argument("--cases", default=os.environ.get("FIRELANE_VECTORS", default))
    options = parser.parse_args()
    vectors = os.path.abspath(options.cases)
    if not os.path.isdir(vectors):
        sys.exit("the golden cases are not there: %s" % vectors)
    if not os.access(options.bin, os.X_OK):
        sys.exit("no such binary: %s" % options.bin)
    with open(os.path.join(HERE, "waiting.toml"), "rb") as f:
        waiting = tomllib.load(f)
    good = True
    with tempfile.TemporaryDirectory(prefix="firelane-vectors-") as folder:
        link = os.path.join(folder, "fluent-bit")
        os.symlink(os.path.abspath(options.bin), link)
        for kind in options.kind or list(RUNNERS):
            good &= check(kind, vectors, link, options.jobs, waiting.get(kind, {}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
