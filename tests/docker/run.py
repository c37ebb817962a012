#!/usr/bin/env python3
"""Containers of a real Docker engine log through Docker's own `fluentd` driver into the router.

    tests/docker/run.py --bin PATH [--lines 100000]

Three containers write to `fluentd-address=unix://...`, async, with sub-second precision; among the lines are some over
16 KiB, which Docker splits, and some that are not UTF-8. Guarantees: every line arrives once, whole and in order per
container, at a `file` and at an `http` output with one worker (its default of two keeps no order), and both ledgers
balance. The containers stay up until their last line was seen: what Docker's asynchronous driver throws away when a
container stops never reaches a router.

Needs root or a running engine. Without an engine it starts `dockerd` with data, socket and process ids of its own, and
ends it. The image is a static busybox and nothing else.
"""

import argparse
import collections
import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from engine import Engine  # noqa: E402
from harness import Router, Sink, check, file_lines, main, until  # noqa: E402

CONTAINERS = 3
LONG_EVERY, LONG_BYTES = 1000, 40_000
BAD_EVERY = 97
PIECE = 16 * 1024
# What a container runs: its lines at once, then it waits to be stopped.
SCRIPT = r"""
awk -v name="$NAME" -v count="$COUNT" 'BEGIN {
  long = "y"; while (length(long) < %d) long = long long; long = substr(long, 1, %d)
  for (i = 1; i <= count; i++) {
    if (i %% %d == 0) text = long "."
    else if (i %% %d == 0) text = "bad \377\376 bytes \303( end"
    else text = "a line of the usual length, with \"quotes\", a \\ and \303\244"
    printf "%%s %%07d %%s\n", name, i, text
  }
}'
exec sleep 3600
""" % (LONG_BYTES, LONG_BYTES, LONG_EVERY, BAD_EVERY)


def expected(name, i):
    """The bytes of line `i`, or of what must be around its bytes that are not UTF-8."""
    head = b"%s %07d " % (name.encode(), i)
    if i % LONG_EVERY == 0:
        return head + b"y" * LONG_BYTES + b"."
    if i % BAD_EVERY == 0:
        return (head + b"bad ", b" bytes ", b" end")
    return head + b"a line of the usual length, with \"quotes\", a \\ and \xc3\xa4"


def verify(what, records, counts):
    """Every line of every container once, whole, in order. Lines that Docker split are joined here."""
    lines, pieces, open_id = collections.defaultdict(list), 0, {}
    for record in records:
        name = record["container_name"].lstrip("/")
        text = record["log"]
        if record.get("partial_message") == "true":
            pieces += 1
            ident, ordinal = record["partial_id"], int(record["partial_ordinal"])
            before = open_id.pop(name, None)
            if ordinal == 1:
                check(before is None, "%s: %s starts a long line within another" % (what, name))
                before = (ident, 0, "")
            check(before and before[:2] == (ident, ordinal - 1), "%s: %s: piece %d out of place" % (what, name, ordinal))
            if record["partial_last"] == "true":
                text = before[2] + text
            else:
                check(len(text) == PIECE, "%s: a piece of %d bytes" % (what, len(text)))
                open_id[name] = (ident, ordinal, before[2] + text)
                continue
        else:
            check(name not in open_id, "%s: %s: a long line was broken off" % (what, name))
        lines[name].append(text)
    for name, count in counts.items():
        got = lines.pop(name, [])
        for i, text in enumerate(got, 1):
            want = expected(name, i)
            if isinstance(want, tuple):
                start, middle, end = (part.decode() for part in want)
                good = text.startswith(start) and middle in text and text.endswith(end)
            else:
                good = text == want.decode()
            check(good, "%s: line %d of %s is %r" % (what, i, name, text[:120]))
        check(len(got) == count, "%s: %d of %d lines of %s" % (what, len(got), count, name))
    check(not lines, "%s: lines of strangers: %s" % (what, list(lines)))
    return pieces


def run():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--lines", type=int, default=100_000)
    options = parser.parse_args()
    run_id = "firelane-test-%d" % os.getpid()
    counts = {"%s-c%d" % (run_id, n): options.lines // CONTAINERS + (n < options.lines % CONTAINERS)
              for n in range(CONTAINERS)}
    engine = Engine()
    try:
        engine.image(run_id)
        through_router(engine, options.bin, run_id, counts)
    finally:
        for name in counts:
            engine.docker("rm", "-f", name, check_code=False)
        engine.docker("rmi", "-f", run_id, check_code=False)
        engine.close()


def through_router(engine, binary, image, counts):
    sink = Sink()
    conf = """
[SERVICE]
    Flush 0.5
    Grace 10
[INPUT]
    Name forward
    unix_path {dir}/fluent.sock
    unix_perm 0666
    Mem_Buf_Limit 25MB
[OUTPUT]
    Name file
    Match *
    File {dir}/all.log
[OUTPUT]
    Name http
    Match *
    Host 127.0.0.1
    Port %d
    Format json_lines
    Workers 1
""" % sink.port
    with Router(binary, conf) as router:
        socket = router.path("fluent.sock")
        router.wait_for(path=socket)
        start = time.monotonic()
        for name, count in counts.items():
            engine.docker(
                "run", "--detach", "--name", name, "--network", "none", "--log-driver", "fluentd",
                "--log-opt", "fluentd-address=unix://" + socket, "--log-opt", "fluentd-async=true",
                "--log-opt", "fluentd-sub-second-precision=true", "--log-opt", "tag=" + name,
                "--env", "NAME=" + name, "--env", "COUNT=%d" % count, image, "/bin/sh", "-c", SCRIPT)
        last = [b"%s %07d " % (name.encode(), count) for name, count in counts.items()]

        def all_seen():
            check(router.process.poll() is None, "the router ended by itself")
            try:
                with open(router.path("all.log"), "rb") as f:
                    data = f.read()
            except FileNotFoundError:
                return False
            return all(line in data for line in last) and all(any(line in body for body in sink.bodies) for line in last)
        until("the last line of each container at both outputs", 240, all_seen)
        seconds = time.monotonic() - start
        engine.docker("rm", "-f", *counts)
        peak = router.peak_mib()
        found = router.stop()
        events = list(file_lines(router.path("all.log")))
    check(any(nanoseconds for _, _, nanoseconds, _ in events), "no time has a fraction of a second")
    pieces = verify("file", [json.loads(text) for _, _, _, text in events], counts)
    verify("http", [json.loads(line) for line in sink.lines()], counts)
    check(pieces > 0, "Docker split no line")
    for name, key in (("ingest", "received"), ("file.0", "delivered"), ("http.1", "delivered")):
        check(found[name][key] == len(events), "%s: %s of %d" % (name, found[name], len(events)))
    total = sum(counts.values())
    print("docker: %d lines of %d containers (%d records, %d pieces of long lines) in %.1f s, router's peak %d MiB"
          % (total, len(counts), len(events), pieces, seconds, peak))


if __name__ == "__main__":
    main(run)
