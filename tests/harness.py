"""What the Docker and client tests share: a router under test, an HTTP destination, the ledgers of the exit lines."""

import argparse
import http.server
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE = re.compile(rb"^(.*?): \[(\d+)\.(\d+), (.*)\]$", re.S)


class Failed(Exception):
    """A test that failed, with what to tell."""


def check(condition, text):
    if not condition:
        raise Failed(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, limit, done):
    """Asks `done` until it gives something true; that is the result."""
    end = time.monotonic() + limit
    while True:
        value = done()
        if value:
            return value
        check(time.monotonic() < end, "waited %d s in vain: %s" % (limit, what))
        time.sleep(0.05)


class Router:
    """`firelane router` in a folder of its own. A context manager; `stop` gives the ledgers."""

    def __init__(self, binary, conf):
        self.folder = tempfile.mkdtemp(prefix="firelane-router-")
        os.chmod(self.folder, 0o755)
        with open(self.path("router.conf"), "w") as f:
            f.write(conf.replace("{dir}", self.folder))
        self.log_path = self.path("stderr.txt")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([os.path.abspath(binary), "router", "-c", "router.conf"], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if kind is not None:
            print("--- the router said (last lines):\n%s" % self.log()[-3000:])
        subprocess.run(["rm", "-rf", self.folder], check=False)

    def path(self, name):
        return os.path.join(self.folder, name)

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_for(self, port=None, path=None):
        def ready():
            check(self.process.poll() is None, "the router ended with %s at its start" % self.process.poll())
            kind, address = (socket.AF_UNIX, path) if path else (socket.AF_INET, ("127.0.0.1", port))
            with socket.socket(kind) as s:
                return s.connect_ex(address) == 0
        until("the router listens", 20, ready)

    def peak_mib(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) // 1024

    def stop(self, limit=30):
        """SIGTERM; the ledgers by name, every one balanced by the router's word and by our sum."""
        check(self.process.poll() is None, "the router ended by itself with %s" % self.process.poll())
        self.process.terminate()
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed("the router still runs %d s after SIGTERM" % limit) from None
        check(code == 0, "the router ended with %s" % code)
        return ledgers(self.log())


def ledgers(log):
    found = {}
    for line in log.splitlines():
        match = re.search(r"ledger (ingest|output=\S+)[: ](.*)", line)
        if match:
            name = match.group(1).replace("output=", "")
            check("(balanced)" in line, "not balanced: " + line)
            found[name] = {k: int(v) for k, v in re.findall(r"(\S+)=(\d+)", match.group(2))}
    check("ingest" in found, "no ingest ledger was printed")
    for name, ledger in found.items():
        left, right = ("received created recovered", "filtered dropped joined unrouted held appended") if name == "ingest" \
            else ("routed", "delivered parked dead_lettered dropped buffered")
        sums = [sum(ledger.get(key, 0) for key in side.split()) for side in (left, right)]
        check(sums[0] == sums[1], "the ledger of %s does not add up: %s" % (name, ledger))
    return found


# What the tests against AWS's APIs need; one environment for all of them.
PACKAGES = ["boto3==1.44.8", "awscli==1.46.3", "moto[server,iam,sts,logs,firehose,kinesis,s3,ssm,secretsmanager]==5.2.5", "parliament==1.6.4",
            "setuptools<81"]


def venv(work):
    """Python of a virtual environment in `work` with PACKAGES, made where it is not there or holds other ones."""
    folder = os.path.join(work, "venv")
    python, mark, want = os.path.join(folder, "bin", "python"), os.path.join(folder, "packages"), "\n".join(PACKAGES)
    if os.path.exists(mark):
        with open(mark) as f:
            if f.read() == want:
                return python
    for command in ([sys.executable, "-m", "venv", "--clear", folder],
                    [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=300)
        check(done.returncode == 0, "%s ended with %s:\n%s" % (command[0], done.returncode, done.stdout[-2000:]))
    with open(mark, "w") as f:
        f.write(want)
    return python


def cases(file, env, *arguments, limit=300):
    """Runs the cases.py beside `file` in the virtual environment, for a binary: `--bin PATH --work FOLDER` and `arguments`
    (names of options, whose values it gets). Nothing of the environment may lead to the real AWS."""
    parser = argparse.ArgumentParser()
    for name in ("--bin", "--work"):
        parser.add_argument(name, required=True)
    for name in arguments:
        parser.add_argument(name, default="")
    options = vars(parser.parse_args())
    python = venv(os.path.abspath(options["work"]))
    own = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    own.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true",
               PYTHONWARNINGS="ignore", PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1", **env)
    command = [python, os.path.join(os.path.dirname(os.path.abspath(file)), "cases.py"), os.path.abspath(options["bin"])]
    command += [options[name.strip("-")] for name in arguments]
    done = subprocess.run(command, env=own, stdin=subprocess.DEVNULL, timeout=limit)
    check(done.returncode == 0, "the cases ended with %s" % done.returncode)


def file_lines(path):
    """The lines of the `file` output: (tag, seconds, nanoseconds, JSON text), as bytes."""
    with open(path, "rb") as f:
        for line in f.read().split(b"\n"):
            if line:
                match = LINE.match(line)
                check(match, "not a line of the file output: %r" % line[:200])
                yield match.group(1), int(match.group(2)), int(match.group(3)), match.group(4)


class Sink:
    """An HTTP destination that keeps every body it was sent, or hands it to `taken` before it answers."""

    def __init__(self, taken=None, tls=None):
        self.bodies = []
        taken = taken or self.bodies.append

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                taken(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def lines(self):
        return [line for body in list(self.bodies) for line in body.split(b"\n") if line]


def main(run):
    """Runs a test's `run()`; a failure is told in one line and ends with 1."""
    start = time.monotonic()
    try:
        run()
    except Failed as error:
        print("FAIL: %s" % error)
        sys.exit(1)
    print("ok (%.1f s)" % (time.monotonic() - start))
