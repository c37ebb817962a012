#!/usr/bin/env python3
"""Real client libraries over TCP, 50,000 records each: the fluent-loggers of Python (PyPI) and Go (Debian), and Log4j.

    tests/clients/run.py --bin PATH --work FOLDER [--count 50000]

Guarantees: every record arrives once and in order, with its fraction of a second, and both ledgers balance. Go's client
runs a second time with acks. FOLDER keeps the virtual environment and Go's caches between runs.
Log4j (Debian) writes through its Socket appender and JSON layout into the `tcp` input; every hundredth event carries
a stack trace of over 32 KiB.
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
JARS = ("log4j-api", "log4j-core", "jackson-core", "jackson-databind", "jackson-annotations")
CONF = """
[SERVICE]
    Flush 0.2
    Grace 10
[INPUT]
    Name %s
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


def java_client(work):
    call(["javac", "-cp", class_path(), "-d", work, os.path.join(HERE, "java", "Client.java")])
    config = os.path.join(HERE, "java", "log4j2.xml")
    return lambda port, count: ["java", "-cp", class_path(work), "-Dport=%d" % port,
                                "-Dlog4j2.configurationFile=" + config, "Client", str(count)]


def class_path(*folders):
    return ":".join([*folders, *("/usr/share/java/%s.jar" % jar for jar in JARS)])


def fluent(tag):
    """The check of a record that a fluent-logger has sent."""
    def is_right(number, got_tag, record):
        return got_tag == tag and record["seq"] == number and record["log"].endswith(" program, ä")
    return is_right


def log4j(number, tag, record):
    """The check of a record that Log4j has sent."""
    text = "seq=%d a Java program, ä \"quoted\"\n" % number
    trace = record.get("thrown", {}).get("extendedStackTrace", [])
    return tag == b"log4j" and record["message"] == text and (number % 100 != 0 or len(json.dumps(trace)) > 32 << 10)


def one(router_binary, name, source, command, count, is_right, fractions=True):
    port = free_port()
    with Router(router_binary, CONF % (source, port)) as router:
        router.wait_for(port=port)
        start = time.monotonic()
        call(command(port, count))

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
    for number, (tag, _, _, text) in enumerate(events, 1):
        record = json.loads(text)
        check(is_right(number, tag, record), "%s: record %d is %r %.500r" % (name, number, tag, record))
    if fractions:
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
    count = options.count

    def command(words, *extra):
        return lambda port, count: [*words, str(port), str(count), *extra]
    forward = "forward"
    python = python_client(work)
    one(options.bin, "python fluent-logger", forward, command(python), count, fluent(b"py.app"))
    go = go_client(work)
    one(options.bin, "go fluent-logger", forward, command(go), count, fluent(b"go.app"))
    one(options.bin, "go fluent-logger with acks", forward, command(go, "ack"), count, fluent(b"go.app"))
    one(options.bin, "log4j", "tcp\n    Tag log4j", java_client(work), count, log4j)


if __name__ == "__main__":
    main(run)
