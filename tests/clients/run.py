#!/usr/bin/env python3
"""Real client libraries over TCP: Python's fluent-logger (PyPI) and Go's fluent-logger (Debian), 50,000 records each.

    tests/clients/run.py --bin PATH --work FOLDER [--count 50000]

Guarantees: every record arrives once and in order, with its fraction of a second, and both ledgers balance. Go's client
runs a second time with acks. FOLDER keeps the virtual environment and Go's caches between runs.
Log4j over TCP is not tried here: the vectors `tcp-json-log4j` and `tcp-001-json` hold its bytes.
"""

import argparse
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import Router, check, file_lines, free_port, main, until  # noqa: E402

FLUENT_LOGGER = "fluent-logger==0.11.1"
CONF = """
[SERVICE]
    Flush 0.2
    Grace 10
[INPUT]
    Name forward
    Listen 127.0.0.1
    Port %d
    Mem_Buf_Limit 5MB
[OUTPUT]
    Name file
    Match *
    File {dir}/all.log
"""


def call(command, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=300, **more)
    check(done.returncode == 0, "%s ended with %s:\n%s" % (command[0], done.returncode, done.stdout[-2000:]))


def python_client(work):
    venv = os.path.join(work, "venv")
    python = os.path.join(venv, "bin", "python")
    ready = os.path.exists(python) and subprocess.run([python, "-c", "import fluent.sender"]).returncode == 0
    if not ready:
        call([sys.executable, "-m", "venv", "--clear", venv])
        call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", FLUENT_LOGGER])
    return [python, os.path.join(HERE, "python", "client.py")]


def go_client(work):
    binary = os.path.join(work, "go-client")
    env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOFLAGS="", CGO_ENABLED="0",
               GOCACHE=os.path.join(work, "go-cache"))
    call(["go", "build", "-o", binary, os.path.join(HERE, "go", "main.go")], env=env)
    return [binary]


def one(router_binary, name, tag, command, count, extra=()):
    port = free_port()
    with Router(router_binary, CONF % port) as router:
        router.wait_for(port=port)
        start = time.monotonic()
        call([*command, str(port), str(count), *extra])

        def all_seen():
            check(router.process.poll() is None, "the router ended by itself")
            try:
                with open(router.path("all.log"), "rb") as f:
                    return sum(block.count(b"\n") for block in iter(lambda: f.read(1 << 20), b"")) >= count
            except FileNotFoundError:
                return False
        until("%s: %d lines in the file" % (name, count), 60, all_seen)
        seconds = time.monotonic() - start
        found = router.stop()
        events = list(file_lines(router.path("all.log")))
    check(len(events) == count, "%s: %d records of %d" % (name, len(events), count))
    for number, (got_tag, _, _, text) in enumerate(events, 1):
        record = json.loads(text)
        check(got_tag == tag and record["seq"] == number, "%s: record %d is %r %r" % (name, number, got_tag, record))
        check(record["log"].endswith(" program, ä"), "%s: record %d is %r" % (name, number, record))
    check(any(nanoseconds for _, _, nanoseconds, _ in events), "%s: no time has a fraction of a second" % name)
    for ledger, key in (("ingest", "received"), ("ingest", "appended"), ("file.0", "delivered")):
        check(found[ledger][key] == count, "%s: %s: %s" % (name, ledger, found[ledger]))
    print("%s: %d records, once and in order, %.1f s" % (name, count, seconds))


def run():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--count", type=int, default=50_000)
    options = parser.parse_args()
    work = os.path.abspath(options.work)
    os.makedirs(work, exist_ok=True)
    one(options.bin, "python fluent-logger", b"py.app", python_client(work), options.count)
    go = go_client(work)
    one(options.bin, "go fluent-logger", b"go.app", go, options.count)
    one(options.bin, "go fluent-logger with acks", b"go.app", go, options.count, ["ack"])


if __name__ == "__main__":
    main(run)
