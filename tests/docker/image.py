#!/usr/bin/env python3
"""The container image on a real Docker engine: `FROM scratch`, locked down, short of memory, and root given up.

    tests/docker/image.py [--image NAME]     without NAME it is built by image/build.sh

Guarantees:
- contents: the files and owners that docs/image.md names; the bill of materials is that of Cargo.lock;
- commands: the router's are there, and those of the control side say where they are;
- locked: with a read-only root, no user but 65532, no capability and no new privileges, a configuration as ECS writes
  it takes records over a unix socket and delivers all, over HTTP and TLS, to a host name; monitoring answers; the exit
  code of `docker stop` is 0, and both ledgers balance; health checks with `curl`, `nc` and `sh -c` work inside;
- initialised: the entry point with the variables of AWS's init images includes an object of S3 and a file, and the
  task's metadata are variables; what is missing ends it with a code and its name;
- overload: in 64 MiB, clients that offer ten times what the destination takes lose nothing, are never disconnected,
  and nobody is killed, without a disk and with one. FIRELANE_SOAK=1: for 60 seconds instead of 15;
- root given up: started as root with FIRELANE_USER or --user, every thread is that user, without groups, capabilities
  and a way back, and records still arrive.

Needs root, or a running engine. Listens on loopback only (containers have the host's network).
"""

import argparse
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from engine import Engine  # noqa: E402
from harness import ROOT, Failed, Sink, check, free_port, ledgers, main, until  # noqa: E402
from senders import Client, Sender, frame  # noqa: E402

USER = 65532
LOCKED = ["--read-only", "--user", str(USER), "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
LOCKED_RECORDS = 20_000
MEMORY = 64 << 20
# What the destination takes, and what clients offer, in bytes a second.
TAKES, OFFERED, CLIENTS = 1_000_000, 10_000_000, 8
SECONDS = 60 if os.environ.get("FIRELANE_SOAK") == "1" else 15
MISSING = re.compile(rb"c(\d)-(\d{8}) ")


class Container:
    """A container of the image with a folder of the test at /var/run. A context manager."""

    count = 0

    def __init__(self, engine, image, conf, options, command=()):
        Container.count += 1
        self.engine, self.name = engine, "firelane-image-%d-%d" % (os.getpid(), Container.count)
        self.folder = tempfile.mkdtemp(prefix="firelane-image-")
        os.chmod(self.folder, 0o755)
        self.run = os.path.join(self.folder, "run")
        os.mkdir(self.run)
        os.chmod(self.run, 0o777)
        self.socket = os.path.join(self.run, "fluent.sock")
        path = os.path.join(self.folder, "fluent-bit.conf")
        with open(path, "w") as f:
            f.write(conf)
        self.command = [
            "run", "--detach", "--name", self.name, "--network", "host", "--add-host", "sink.test:127.0.0.1",
            "--mount", "type=bind,source=%s,target=/var/run" % self.run,
            "--mount", "type=bind,readonly,source=%s,target=/fluent-bit/etc/fluent-bit.conf" % path,
            *options, image, *command]

    def __enter__(self):
        self.engine.docker(*self.command)
        try:
            until("the router listens", 20, self.listens)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print("--- the container said (last lines):\n%s" % self.log()[-3000:])
            found = self.engine.docker("inspect", "--format", "{{.RestartCount}} {{json .State}}", self.name,
                                       check_code=False)
            print("--- restarts, state: %s" % found.stdout.strip())
        self.engine.docker("rm", "-f", "-v", self.name, check_code=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def state(self):
        return json.loads(self.engine.docker("inspect", self.name).stdout)[0]

    def listens(self):
        state = self.state()["State"]
        check(state["Running"], "the container ended with %s at its start" % state["ExitCode"])
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.socket) == 0

    def pid(self):
        return self.state()["State"]["Pid"]

    def log(self):
        return self.engine.docker("logs", self.name, check_code=False).stdout

    def stop(self):
        """`docker stop`; the ledgers."""
        self.engine.docker("stop", "--time", "30", self.name)
        state = self.state()
        check(not state["State"]["OOMKilled"], "the container was killed for its memory")
        check(state["RestartCount"] == 0, "the container was started %d times again" % state["RestartCount"])
        check(state["State"]["ExitCode"] == 0, "the container ended with %d" % state["State"]["ExitCode"])
        return ledgers(self.log())


def cgroup_peak(pid):
    """The most memory that the cgroup of a process has had, in bytes (version 1 or 2), and the process's alone."""
    with open("/proc/%d/cgroup" % pid) as f:
        groups = dict((line.split(":")[1], line.strip().split(":", 2)[2]) for line in f)
    if "memory" in groups:
        path = "/sys/fs/cgroup/memory%s/memory.max_usage_in_bytes" % groups["memory"]
    else:
        path = "/sys/fs/cgroup%s/memory.peak" % groups[""]
    with open(path) as f, open("/proc/%d/status" % pid) as status:
        return int(f.read()), int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) * 1024


def contents(engine, image):
    config = json.loads(engine.docker("image", "inspect", image).stdout)[0]
    check(config["Config"]["User"] == "%d:%d" % (USER, USER), "the image's user is %r" % config["Config"]["User"])
    name = engine.docker("create", image).stdout.strip()
    folder = tempfile.mkdtemp(prefix="firelane-image-")
    try:
        archive = os.path.join(folder, "image.tar")
        engine.docker("export", "--output", archive, name)
        listed = subprocess.run(["tar", "--numeric-owner", "-tvf", archive], check=True, text=True,
                                stdout=subprocess.PIPE).stdout
        entries = {}
        for line in listed.splitlines():
            mode, owner, _, _, _, path = line.split(None, 5)
            entries["/" + path.split(" -> ")[0].removeprefix("./").rstrip("/")] = (mode, owner)
        for path, want in [
                ("/firelane", ("-rwxr-xr-x", "0/0")), ("/fluent-bit/bin/fluent-bit", ("lrwxrwxrwx", "0/0")),
                ("/fluent-bit/etc/fluent-bit.conf", ("-rw-r--r--", "0/0")), ("/tmp", ("drwxrwxrwt", "0/0")),
                ("/fluent-bit/etc/parsers.conf", ("-rw-r--r--", "0/0")),
                ("/fluent-bit/parsers/parsers.conf", ("-rw-r--r--", "0/0")),
                ("/etc/ssl/certs/ca-certificates.crt", ("-rw-r--r--", "0/0")),
                ("/entrypoint.sh", ("lrwxrwxrwx", "0/0")), ("/bin/sh", ("lrwxrwxrwx", "0/0")),
                ("/init/fluent_bit_init_process", ("lrwxrwxrwx", "0/0")), ("/init", ("drwxrwxrwt", "0/0")),
                ("/AWS_FOR_FLUENT_BIT_VERSION", ("-rw-r--r--", "0/0")),
                ("/ecs/cloudwatch.conf", ("-rw-r--r--", "0/0")),
                ("/var/run", ("drwxr-xr-x", "%d/%d" % (USER, USER))),
                ("/var/lib/firelane", ("drwxr-x---", "%d/%d" % (USER, USER)))]:
            check(entries.get(path) == want, "%s is %s, not %s" % (path, entries.get(path), want))
        open_files = [path for path, (mode, _) in entries.items() if mode[0] != "l" and mode[8] == "w" and path not in
                      ("/tmp", "/init") and not path.startswith(("/dev", "/proc", "/etc/mtab"))]
        check(not open_files, "everybody may write %s" % open_files)
        subprocess.run(["tar", "-C", folder, "-xf", archive, "firelane", "firelane.cdx.json"], check=True)
        bill_of_materials(folder)
    finally:
        engine.docker("rm", "-f", name, check_code=False)
        shutil.rmtree(folder, ignore_errors=True)
    for file in ("minimize-log-loss", "parse-json", "output-metrics-healthcheck"):
        engine.docker("run", "--rm", "--network", "none", *LOCKED, image, "/fluent-bit/bin/fluent-bit", "-D",
                      "-c", "/fluent-bit/configs/%s.conf" % file, "-i", "dummy", "-o", "null")
    engine.docker("run", "--rm", "--network", "none", *LOCKED, image, "/firelane", "check", "--deny", "warnings",
                  "/fluent-bit/etc/fluent-bit.conf")
    for file in ("amazon-es", "cloudwatch", "firehose", "kinesis", "s3"):
        names = "AWS_REGION ECS_CLUSTER ECS_TASK_ARN ECS_TASK_DEFINITION FIREHOSE_REGION DELIVERY_STREAM KINESIS_REGION " \
                "STREAM BUCKET S3_REGION TASK_ID ES_ENDPOINT INDEX TYPE ES_REGION"
        env = [word for name in names.split() for word in ("--env", name + "=x")]
        engine.docker("run", "--rm", "--network", "none", *LOCKED, *env, image, "/firelane", "check", "--deny", "warnings",
                      "/ecs/%s.conf" % file)
    print("contents: %d entries, image of %d bytes" % (len(entries), config["Size"]))


def commands(engine, image):
    """The binary is the router alone; what it leaves out says so, whatever its arguments."""
    ask = ("run", "--rm", "--network", "none", *LOCKED, image, "/firelane")
    listed = engine.docker(*ask, "--help").stdout
    listed = set(re.findall(r"^  ([a-z-]+)(?:  |$)", listed, re.MULTILINE)) - {"help"}
    want = {"router", "check", "buffer", "ecs-init", "health", "plugins"}
    check(listed == want, "the commands are %s" % sorted(listed))
    for args in (["aws", "--data", "/tmp/x"], ["render", "--help"], ["router", "--task", "task.json"]):
        done = engine.docker(*ask, *args, check_code=False)
        check(done.returncode == 64 and "not in this binary" in done.stdout,
              "%s: %d, %s" % (args, done.returncode, done.stdout))


def bill_of_materials(folder):
    """The image's bill against Cargo.lock, against `cargo tree`, and against the paths that the binary itself names."""
    with open(os.path.join(folder, "firelane.cdx.json")) as f:
        bill = json.load(f)
    check((bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5"), "the bill is no CycloneDX 1.5")
    with open(os.path.join(ROOT, "Cargo.lock"), "rb") as f:
        locked = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(f)["package"]}
    listed = set()
    for component in bill["components"]:
        key = component["name"], component["version"]
        check(key not in listed, "the bill has %s twice" % (key,))
        check(locked.get(key) == component["hashes"][0]["content"], "another checksum of %s in Cargo.lock" % (key,))
        check(component["purl"].startswith("pkg:cargo/%s@" % key[0]), "purl: %s" % component["purl"])
        listed.add(key)
    target = bill["metadata"]["properties"][0]["value"]
    tree = subprocess.run(["cargo", "tree", "--locked", "--package", "firelane", "--no-default-features", "--target", target,
                           "--edges", "normal", "--prefix", "none", "--format", "{p}"], cwd=ROOT, check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    built = {(name, version[1:]) for name, version in (line.split()[:2] for line in tree.splitlines() if line)}
    foreign = {key for key in built if locked[key]}
    check(listed == foreign, "the bill and the build differ in %s" % sorted(listed ^ foreign))
    with open(os.path.join(folder, "firelane"), "rb") as f:
        # Places of panics begin with the registry's folder: its name and a hash.
        paths = set(re.findall(rb"-[0-9a-f]{16}/([A-Za-z0-9_+.-]+-[0-9]+\.[0-9A-Za-z.+-]+)/", f.read()))
    known = {"%s-%s" % key for key in listed}
    strangers = {path.decode() for path in paths} - known
    check(paths and not strangers, "the binary names %s, the bill does not" % sorted(strangers))
    print("bill of materials: %d packages; the binary itself names %d of them" % (len(listed), len(paths)))


def certificate(folder):
    """A certificate for `sink.test` that is its own root."""
    path = lambda name: os.path.join(folder, name)  # noqa: E731
    with open(path("openssl.cnf"), "w") as f:
        f.write("[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = ext\n[dn]\nCN = sink.test\n[ext]\n"
                "basicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:sink.test\n")
    check(shutil.which("openssl"), "openssl is not installed (Debian: openssl)")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-config",
                    path("openssl.cnf"), "-keyout", path("key.pem"), "-out", path("root.pem")],
                   check=True, stderr=subprocess.DEVNULL)
    os.chmod(path("root.pem"), 0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("root.pem"), path("key.pem"))
    return path("root.pem"), context


def locked(engine, image):
    folder = tempfile.mkdtemp(prefix="firelane-image-")
    os.chmod(folder, 0o755)
    root, context = certificate(folder)
    plain, tls = Sink(), Sink(tls=context)
    monitor, health = free_port(), free_port()
    conf = """
@INCLUDE /fluent-bit/configs/parse-json.conf
[INPUT]
    Name forward
    unix_path /var/run/fluent.sock
    unix_perm 0666
    Mem_Buf_Limit 25MB
[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port %d
[FILTER]
    Name record_modifier
    Match *
    Record ecs_cluster default
[OUTPUT]
    Name null
    Match firelens-healthcheck
[OUTPUT]
    Name http
    Match app-*
    Host sink.test
    Port %d
    Format json_lines
[OUTPUT]
    Name http
    Match app-*
    Host sink.test
    Port %d
    Format json_lines
    tls on
[OUTPUT]
    Name file
    Match app-*
    Path /var/lib/firelane
""" % (health, plain.port, tls.port)
    options = [*LOCKED, "--mount", "type=bind,readonly,source=%s,target=/etc/ssl/certs/ca-certificates.crt" % root,
               "--mount", "type=volume,target=/var/lib/firelane"]
    # As AWS's image starts it, and with monitoring.
    command = ["/fluent-bit/bin/fluent-bit", "-e", "/fluent-bit/firehose.so", "-c", "/fluent-bit/etc/fluent-bit.conf",
               "-H", "--http_listen=localhost", "-P", str(monitor)]
    try:
        with Container(engine, image, conf, options, command) as container:
            status = statuses(container.pid())
            check(all(s["Uid"] == [USER] * 4 and s["CapEff"] == 0 and s["NoNewPrivs"] == 1 for s in status),
                  "the engine did not lock the container: %s" % status)
            with Client(container.socket) as client:
                for n in range(LOCKED_RECORDS):
                    client.send(frame("app-firelens-1", {"log": json.dumps({"n": n}), "source": "stdout"}))
            want = set(range(LOCKED_RECORDS))
            for sink in (plain, tls):
                until("all records", 60, lambda: len(sink.lines()) >= LOCKED_RECORDS)
                found = [json.loads(line) for line in sink.lines()]
                check(len(found) == LOCKED_RECORDS and {r["n"] for r in found} == want, "records are lost or repeated")
                check(all(r["source"] == "stdout" and r["ecs_cluster"] == "default" for r in found), "fields are lost")
            for path in ("/api/v1/uptime", "/health/live", "/health/ready", "/health/delivery"):
                connection = http.client.HTTPConnection("127.0.0.1", monitor, timeout=10)
                connection.request("GET", path)
                answer = connection.getresponse()
                check(answer.status == 200, "%s answers %d: %s" % (path, answer.status, answer.read()[:200]))
            # The health checks that task definitions have in use, as ECS runs CMD and CMD-SHELL.
            page = "http://127.0.0.1:%d/api/v1/uptime" % monitor
            for check_command in (["/bin/sh", "-c", "curl -f %s || exit 1" % page], ["curl", "-f", page],
                                  ["/bin/sh", "-c", "echo '{\"health\": \"check\"}' | nc 127.0.0.1 %d || exit 1" % health],
                                  ["/firelane", "health", page]):
                engine.docker("exec", container.name, *check_command)
            done = engine.docker("exec", container.name, "/bin/sh", "-c", "curl -f %s || exit 1" % page.replace("v1", "v9"),
                                 check_code=False)
            check(done.returncode == 1, "a health check that fails ended with %d: %s" % (done.returncode, done.stdout))
            found = container.stop()
        check(found["ingest"]["received"] == LOCKED_RECORDS + 1, "received: %s" % found["ingest"])
        for name in ("http.1", "http.2", "file.3"):
            check(found[name]["delivered"] == LOCKED_RECORDS, "%s: %s" % (name, found[name]))
        print("locked: %d records over HTTP, TLS and to a volume, read-only root, user %d, no capability" % (LOCKED_RECORDS, USER))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def initialised(engine, image):
    """The entry point with the variables of AWS's init images: metadata, an object of S3, a file of the image."""
    folder = tempfile.mkdtemp(prefix="firelane-image-")
    os.chmod(folder, 0o755)
    pages = {
        "/v4/abc/task": json.dumps({"Cluster": "arn:aws:ecs:eu-west-1:1:cluster/prod", "Family": "web", "Revision": "7",
                                    "TaskARN": "arn:aws:ecs:eu-west-1:1:task/prod/abc", "LaunchType": "FARGATE"}),
        "/configs/team/more.conf": """[PARSER]
    Name   words
    Format regex
    Regex  ^(?<first>[^ ]+) (?<second>.*)$
[FILTER]
    Name   record_modifier
    Match  *
    Record cluster ${ECS_CLUSTER}
    Record definition ${ECS_TASK_DEFINITION}
[FILTER]
    Name         parser
    Match        *
    Key_Name     log
    Parser       words
    Reserve_Data On
""",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, query = self.path.partition("?")
            text = pages.get(path)
            if query.startswith("location"):
                text = '<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-west-1</LocationConstraint>'
            self.send_response(200 if text else 404)
            self.end_headers()
            self.wfile.write((text or "").encode())

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = "http://127.0.0.1:%d" % server.server_address[1]
    env = {"ECS_CONTAINER_METADATA_URI_V4": base + "/v4/abc", "AWS_ENDPOINT_URL": base, "AWS_ACCESS_KEY_ID": "x",
           "AWS_SECRET_ACCESS_KEY": "x", "aws_fluent_bit_init_s3_2": "arn:aws:s3:::configs/team/more.conf",
           "aws_fluent_bit_init_file_1": "/fluent-bit/configs/minimize-log-loss.conf"}
    main_conf = os.path.join(folder, "fluent-bit.conf")
    with open(main_conf, "w") as f:
        f.write("[INPUT]\n    Name stdin\n    Tag app\n[OUTPUT]\n    Name stdout\n    Match *\n    Format json_lines\n")
    options = [word for pair in env.items() for word in ("--env", "%s=%s" % pair)]
    mount = "type=bind,readonly,source=%s,target=/fluent-bit/etc/fluent-bit.conf" % main_conf

    def start(*more):
        return subprocess.run(["docker", "run", "--rm", "-i", "--network", "host", *LOCKED, *options, *more,
                               "--mount", mount, image], env=engine.env, input='{"log": "hello world"}\n', text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    try:
        # The root is read-only: where /init cannot be written, /tmp serves.
        for more in (["--tmpfs", "/tmp:mode=1777"], ["--tmpfs", "/init:mode=1777"]):
            done = start(*more)
            check(done.returncode == 0, "ended with %d: %s" % (done.returncode, done.stdout[-2000:]))
            records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
            want = {"first": "hello", "second": "world", "cluster": "prod", "definition": "web:7"}
            check(len(records) == 1 and want.items() <= records[0].items(), "records: %s" % done.stdout[-2000:])
        done = start("--tmpfs", "/tmp:mode=1777", "--env", "aws_fluent_bit_init_s3_3=arn:aws:s3:::configs/missing.conf")
        check(done.returncode == 66 and "aws_fluent_bit_init_s3_3" in done.stdout,
              "a missing object: %d %s" % (done.returncode, done.stdout[-1000:]))
        print("initialised: metadata, S3 and files, in /init and where that is read-only")
    finally:
        server.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


class SlowSink:
    """A destination that takes `TAKES` bytes a second until it is released, and remembers numbers only."""

    def __init__(self):
        self.seen = [set() for _ in range(CLIENTS)]
        self.records = self.bytes = 0
        self.lock, self.released, self.free = threading.Lock(), threading.Event(), 0.0
        self.sink = Sink(taken=self.take)

    def take(self, body):
        with self.lock:
            now = time.monotonic()
            self.free = max(self.free, now) + len(body) / TAKES
            wait = self.free - now
        self.released.wait(wait)
        with self.lock:
            for client, number in MISSING.findall(body):
                self.seen[int(client)].add(int(number))
                self.records += 1
            self.bytes += len(body)


def overload(engine, image):
    with tempfile.TemporaryDirectory(prefix="firelane-spill-", dir="/var/tmp") as folder:
        os.chmod(folder, 0o1777)
        for what, options in [("in memory", []), ("with a disk for /tmp", ["--volume", folder + ":/tmp"])]:
            overload_once(engine, image, what, options)
        check(not os.listdir(folder), "what was spilled stays behind: %s" % os.listdir(folder))


def overload_once(engine, image, what, more):
    slow = SlowSink()
    conf = """
[SERVICE]
    Flush 1
    Grace 30
[INPUT]
    Name forward
    unix_path /var/run/fluent.sock
    unix_perm 0666
[OUTPUT]
    Name http
    Match *
    Host 127.0.0.1
    Port %d
    Format json_lines
""" % slow.sink.port
    options = [*LOCKED, "--memory", "64m", "--memory-swap", "64m", "--restart", "on-failure:3", *more]
    with Container(engine, image, conf, options) as container:
        start = time.monotonic()
        senders = [Sender(container.socket, n, OFFERED / CLIENTS, SECONDS) for n in range(CLIENTS)]
        time.sleep(SECONDS)
        taken, loaded, sent = slow.bytes, container.state()["State"]["Running"], sum(s.sent for s in senders)
        slow.released.set()
        check(loaded, "the container ended under load")
        counts = [sender.finish(120) for sender in senders]
        total = sum(counts)
        until("all %d records" % total, 120, lambda: slow.records >= total)
        peak, own = cgroup_peak(container.pid())
        found = container.stop()
        seconds = time.monotonic() - start
    for n, count in enumerate(counts):
        check(slow.seen[n] == set(range(count)), "records of client %d are lost" % n)
    check(slow.records == total, "%d records came twice" % (slow.records - total))
    check(found["ingest"]["received"] == total, "received: %s of %d" % (found["ingest"], total))
    check(found["http.0"]["delivered"] == total, "delivered: %s of %d" % (found["http.0"], total))
    check(peak <= MEMORY, "the cgroup had %d bytes of %d" % (peak, MEMORY))
    print("overload, %s: %d records offered at %.0f MB/s for %d s to a destination that takes %.0f MB/s (it took %.0f MB,"
          " the router %d records); all delivered after %.1f s; peak of the cgroup %.1f MiB of 64, of the process"
          " %.1f MiB" % (what, total, OFFERED / 1e6, SECONDS, TAKES / 1e6, taken / 1e6, sent, seconds, peak / 2**20,
                         own / 2**20))


def statuses(pid):
    """What /proc says of every thread of a process."""
    found = []
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            fields = dict(line.rstrip("\n").split(":", 1) for line in f)
        numbers = {key: [int(word) for word in fields[key].split()] for key in ("Uid", "Gid", "Groups")}
        masks = {key: int(fields[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
        found.append({**numbers, **masks, "NoNewPrivs": int(fields["NoNewPrivs"])})
    return found


def root_given_up(engine, image):
    conf = """
[SERVICE]
    Flush 0.2
[INPUT]
    Name forward
    unix_path /var/run/fluent.sock
    unix_perm 0666
[OUTPUT]
    Name http
    Match *
    Host 127.0.0.1
    Port %d
    Format json_lines
"""
    router = ["/firelane", "router", "-c", "/fluent-bit/etc/fluent-bit.conf"]
    for options, command, user, group in [
            (["--user", "0", "--group-add", "4", "--env", "FIRELANE_USER=firelane"], [], USER, USER),
            (["--user", "0"], [*router, "--user", "1000:1001"], 1000, 1001)]:
        sink = Sink()
        options = ["--read-only", *options]
        with Container(engine, image, conf % sink.port, options, command) as container:
            status = statuses(container.pid())
            want = {"Uid": [user] * 4, "Gid": [group] * 4, "Groups": [], "CapInh": 0, "CapPrm": 0, "CapEff": 0,
                    "CapAmb": 0, "NoNewPrivs": 1}
            check(status and all(s == want for s in status), "%s is not %s" % (status, want))
            with Client(container.socket) as client:
                client.send(frame("app", {"log": "hello"}))
            until("the record", 20, sink.lines)
            found = container.stop()
            check(found["http.0"]["delivered"] == 1, "delivered: %s" % found["http.0"])
            owner = os.stat(container.run).st_uid
            check(owner != user, "the test's folder belongs to the user that was to be without rights")
        print("root given up: %d threads are user %d, group %d, without capabilities" % (len(status), user, group))
    for spec, why, code in [("nosuch", "/etc/passwd has no user `nosuch`", 64), ("0", "this is root", 64)]:
        done = engine.docker("run", "--rm", "--network", "none", "--user", "0", image, *router, "--user", spec,
                             check_code=False)
        check(done.returncode == code and why in done.stdout, "--user %s: %d %s" % (spec, done.returncode, done.stdout))
    # As on FireLens without `user`: the folder of the socket is somebody else's.
    folder = tempfile.mkdtemp(prefix="firelane-image-")
    os.chmod(folder, 0o755)
    done = engine.docker("run", "--rm", "--network", "none", "--volume", folder + ":/var/run", image,
                         "/fluent-bit/bin/fluent-bit", "-i", "forward", "-p", "unix_path=/var/run/fluent.sock",
                         "-o", "null", check_code=False)
    os.rmdir(folder)
    check(done.returncode == 255 and "/var/run/fluent.sock: permission denied" in done.stdout,
          "another's folder: %d %s" % (done.returncode, done.stdout))
    done = engine.docker("run", "--rm", "--network", "none", image, *router, "--user", "1000", check_code=False)
    check(done.returncode == 71 and "only root can change that" in done.stdout, "not root: %s" % done.stdout)


def run():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="an image that is there; else one is built")
    parser.add_argument("--only", choices=["contents", "commands", "locked", "initialised", "overload", "root_given_up"])
    options = parser.parse_args()
    engine = Engine()
    image = options.image or "firelane-test-%d" % os.getpid()
    try:
        if not options.image:
            start = time.monotonic()
            built = subprocess.run([os.path.join(ROOT, "image/build.sh"), image], env=engine.env, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            check(built.returncode == 0, "image/build.sh: %s" % built.stdout[-3000:])
            print("built in %.0f s: %s" % (time.monotonic() - start, built.stdout.splitlines()[-1]))
        for test in (contents, commands, locked, initialised, overload, root_given_up):
            if options.only in (None, test.__name__):
                test(engine, image)
    except subprocess.CalledProcessError as error:
        raise Failed(str(error)) from error
    finally:
        if not options.image:
            engine.docker("rmi", "-f", image, check_code=False)
        engine.close()


if __name__ == "__main__":
    main(run)
