"""The cases of run.py, inside of the virtual environment: cases.py BINARY [CASE]."""

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import boto3
from botocore.config import Config

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "docker")]
from harness import Failed, Router, check, free_port, until  # noqa: E402
from senders import Client, frame  # noqa: E402

RECORDS = 50_000
TAGS = ("app-firelens-a", "app-firelens-b")
METRICS = 100
REGION = "us-west-2"

# Each destination of the FireLens path: how the output is configured. {endpoint} is the AWS side.
OUTPUTS = {
    "cloudwatch_logs": "Log_Group_Name c\nLog_Stream_Prefix from-\nAuto_Create_Group On\nLog_Retention_Days 7",
    "cloudwatch": "Log_Group_Name go-$(tag)\nLog_Stream_Name s\nLog_Key log\nAuto_Create_Group true",
    "kinesis_firehose": "Delivery_Stream c",
    "firehose": "Delivery_Stream go\nData_Keys log,seq\nTime_Key at",
    "kinesis_streams": "Stream c",
    "kinesis": "Stream go\nPartition_Key container_id\nAggregation true\nAppend_Newline true",
    "s3": "Bucket objects\nUse_Put_Object On\nTotal_File_Size 2M\nCompression gzip\nUpload_Timeout 5s\n"
          "S3_Key_Format /$TAG/%Y/%m/%d/$UUID.gz\nStore_Dir {dir}/s3",
    "s3-parts": "Name s3\nBucket parts\nTotal_File_Size 12M\nUpload_Timeout 20s\n"
                "S3_Key_Format /$TAG/$INDEX.jsonl\nStore_Dir {dir}/s3-parts",
}


def configuration(endpoint, outputs, more=""):
    text = ("[SERVICE]\nFlush 1\nGrace 240\nScheduler.Base 1\nScheduler.Cap 2\n"
            "[INPUT]\nName forward\nUnix_Path {dir}/fluent.sock\nMem_Buf_Limit 64M\n")
    for name in outputs:
        text += "[OUTPUT]\nAlias %s\nMatch app-firelens-*\nRegion %s\nEndpoint %s\n" % (name, REGION, endpoint)
        options = OUTPUTS[name]
        text += (options if options.startswith("Name ") else "Name %s\n%s" % (name, options)) + "\n"
    text += ("[OUTPUT]\nName cloudwatch_logs\nAlias emf\nMatch metrics\nRegion %s\nEndpoint %s\nLog_Group_Name emf\n"
             "Log_Stream_Name s\nAuto_Create_Group On\nLog_Key log\nLog_Format json/emf\n" % (REGION, endpoint))
    return "".join("%s%s\n" % ("" if line.startswith("[") else "    ", line) for line in (text + more).splitlines())


def text_of(tag, n):
    return "seq=%08d of %s: caf\u00e9 \"quoted\" \t GET /index.html %s" % (n, tag[-1], "x" * (n % 300))


def metric(n):
    return json.dumps({"_aws": {"Timestamp": 1_700_000_000_000 + n, "CloudWatchMetrics": [
        {"Namespace": "n", "Dimensions": [["d"]], "Metrics": [{"Name": "m", "Unit": "Count"}]}]}, "d": "x", "m": n})


def send(path, records=RECORDS):
    """Half of the records on each tag, a connection for each, as two containers."""
    def one(tag):
        with Client(path) as client:
            for first in range(0, records // 2, 100):
                client.send(b"".join(
                    frame(tag, {"log": text_of(tag, n), "seq": n, "source": "stdout", "container_id": tag * 3})
                    for n in range(first, first + 100)))
    threads = [threading.Thread(target=one, args=(tag,)) for tag in TAGS]
    [thread.start() for thread in threads]
    with Client(path) as client:
        for n in range(METRICS):
            client.send(frame("metrics", {"log": metric(n), "source": "stdout"}))
    [thread.join() for thread in threads]


class Side:
    """An AWS side and clients for it."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        config = Config(retries={"max_attempts": 8}, s3={"addressing_style": "path"})
        self.get = lambda name: boto3.client(name, endpoint_url=endpoint, region_name=REGION, config=config)
        self.logs, self.kinesis, self.firehose, self.s3 = map(self.get, ("logs", "kinesis", "firehose", "s3"))

    def prepare(self):
        for bucket in ("objects", "parts", "hose-c", "hose-go"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for name in ("c", "go"):
            self.kinesis.create_stream(StreamName=name, ShardCount=2)
            self.firehose.create_delivery_stream(
                DeliveryStreamName=name,
                ExtendedS3DestinationConfiguration={"RoleARN": "arn:aws:iam::123456789012:role/r",
                                                    "BucketARN": "arn:aws:s3:::hose-" + name})

    def stream(self, group, stream):
        """Messages and times of a stream, in the service's order."""
        found, token = [], {}
        while True:
            page = self.logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **token)
            found += [(event["timestamp"], event["message"]) for event in page["events"]]
            if page["nextForwardToken"] == token.get("nextToken"):
                return found
            token = {"nextToken": page["nextForwardToken"]}

    def shards(self, name):
        """Data of each shard, in order."""
        for shard in self.kinesis.list_shards(StreamName=name)["Shards"]:
            at = self.kinesis.get_shard_iterator(StreamName=name, ShardId=shard["ShardId"],
                                                 ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            found = []
            while at:
                page = self.kinesis.get_records(ShardIterator=at, Limit=10_000)
                found += [record["Data"] for record in page["Records"]]
                at = page["NextShardIterator"] if page["Records"] or page.get("MillisBehindLatest") else None
            yield found

    def hose(self, name):
        """Data that a delivery stream has."""
        return [data for _, data in self.objects("hose-" + name)]

    def objects(self, bucket):
        """Key and content of each object, by key."""
        found = []
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                found.append((entry["Key"], self.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()))
        return found


def once(what, records, ordered=True, twice=0):
    """Each of (letter of the tag, number) once; in order per tag; at most `twice` records again."""
    seen = {}
    for letter, n in records:
        seen.setdefault(letter, []).append(n)
    for tag in TAGS:
        numbers = seen.get(tag[-1], [])
        lost = set(range(RECORDS // 2)) - set(numbers)
        check(not lost, "%s: %d of %s are lost, the first is %s" % (what, len(lost), tag, min(lost, default=None)))
        again = len(numbers) - RECORDS // 2
        check(again <= twice, "%s: %d of %s came twice" % (what, again, tag))
        if ordered and not again:
            check(numbers == sorted(numbers), "%s: %s is not in order" % (what, tag))


def parsed(text):
    match = re.match(r"seq=(\d{8}) of (.): caf\u00e9 \"quoted\" \t GET /index.html (x*)$", text)
    check(match and len(match.group(3)) == int(match.group(1)) % 300, "a damaged record: %r" % text[:200])
    return match.group(2), int(match.group(1))


def lines(data, key="log"):
    for line in data.split(b"\n"):
        if line:
            record = json.loads(line)
            yield parsed(record[key])


def unaggregated(data):
    """The records of a KPL aggregate, by its published format; a lone record stands for itself, as with the KPL."""
    if data[:4] != b"\xf3\x89\x9a\xc2":
        yield data
        return
    body = data[4:-16]
    check(hashlib.md5(body).digest() == data[-16:], "the aggregate's checksum is wrong")

    def fields(data):
        at = 0

        def number():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value
        while at < len(data):
            key = number()
            if key & 7 == 0:
                yield key >> 3, number()
            else:
                check(key & 7 == 2, "a field of a kind that is not in the format")
                size = number()
                yield key >> 3, data[at:at + size]
                at += size
    keys = [value for field, value in fields(body) if field == 1]
    for field, value in fields(body):
        if field == 3:
            record = dict(fields(value))
            check(record[1] < len(keys), "a partition key that is not in the table")
            yield record[3]


def delivered(side, outputs, twice=lambda name: 0):
    """What each destination has, read back."""
    for name in outputs:
        start = time.monotonic()
        found = []
        if name == "cloudwatch_logs":
            for tag in TAGS:
                events = side.stream("c", "from-" + tag)
                check([time for time, _ in events] == sorted(time for time, _ in events), "events are not by time")
                found += [parsed(json.loads(message)["log"]) for _, message in events]
            groups = side.logs.describe_log_groups(logGroupNamePrefix="c")["logGroups"]
            check([g.get("retentionInDays") for g in groups if g["logGroupName"] == "c"] == [7], "no retention")
        elif name == "cloudwatch":
            for tag in TAGS:
                found += [parsed(message) for _, message in side.stream("go-" + tag, "s")]
        elif name in ("kinesis_firehose", "firehose"):
            for data in side.hose("go" if name == "firehose" else "c"):
                found += lines(data)
        elif name == "kinesis_streams":
            for data in side.shards("c"):
                found += lines(b"".join(data))
        elif name == "kinesis":
            entries = [one for data in side.shards("go") for one in data]
            check(len(entries) < RECORDS / 10, "%d entries: records are not aggregated" % len(entries))
            found += [record for one in entries for part in unaggregated(one) for record in lines(part)]
        elif name == "s3":
            for key, data in side.objects("objects"):
                check(re.match(r"app-firelens-[ab]/\d{4}/\d\d/\d\d/\w{8}\.gz$", key), "a strange key: " + key)
                found += lines(gzip.decompress(data))
        elif name == "s3-parts":
            objects = side.objects("parts")
            number = lambda entry: (entry[0].rsplit("/", 1)[0], int(re.search(r"(\d+)\.jsonl$", entry[0]).group(1)))  # noqa: E731
            for _, data in sorted(objects, key=number):
                found += lines(data)
            check(not side.s3.list_multipart_uploads(Bucket="parts").get("Uploads"), "uploads are in limbo")
        ordered = name not in ("kinesis_firehose", "firehose", "kinesis_streams", "kinesis", "s3")
        once(name, found, ordered, twice(name))
        print("  %s: %d records, once%s (read in %.1f s)" % (name, len(found), " and in order" if ordered else "",
                                                             time.monotonic() - start))
    got = [json.loads(message) for _, message in side.stream("emf", "s")]
    if twice("emf"):
        got = [message for n, message in enumerate(got) if message not in got[:n]]
    check(got == [json.loads(metric(n)) for n in range(METRICS)], "embedded metrics are not what was written")


class Started(Side):
    """An AWS side that is a process of ours. A context manager."""

    def __init__(self, command, port):
        self.command, self.log = command, tempfile.TemporaryFile()
        super().__init__("http://127.0.0.1:%d" % port)
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def started(self):
        def answers():
            check(self.process.poll() is None, "the AWS side ended with %s" % self.process.poll())
            try:
                self.s3.list_buckets()
                return True
            except Exception:
                return False
        until("the AWS side answers", 60, answers)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Moto(Started):
    """The server of moto."""

    def __init__(self):
        port = free_port()
        server = os.path.join(os.path.dirname(sys.executable), "moto_server")
        super().__init__([server, "-H", "127.0.0.1", "-p", str(port)], port)


class Local(Started):
    """`firelane aws`, with faults."""

    def __init__(self, binary, *faults):
        port = free_port()
        self.binary, self.folder = binary, tempfile.mkdtemp(prefix="firelane-aws-")
        super().__init__([binary, "aws", "--listen", "127.0.0.1:%d" % port, "--data", self.folder, "--region", REGION,
                          "--seed", "7", *faults], port)

    def __exit__(self, *_):
        self.stop()
        subprocess.run(["rm", "-rf", self.folder], check=False)

    def printed(self, *selection):
        """Lines of `firelane logs`: texts."""
        done = subprocess.run([self.binary, "logs", "--data", self.folder, "--format", "json", *selection],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return [json.loads(line)["text"] for line in done.stdout.splitlines()]

    def hose(self, name):
        return [text.encode() for text in self.printed("--delivery-stream", name)]

    def faults(self, *faults):
        """Puts other faults in: (service, fault, percent)."""
        body = json.dumps({"faults": [dict(zip(("service", "fault", "percent"), fault)) for fault in faults]}).encode()
        request = urllib.request.Request(self.endpoint + "/_firelane/faults", body, {"content-type": "application/json"},
                                         method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def injected(self):
        with urllib.request.urlopen(self.endpoint + "/_firelane/faults", timeout=10) as answer:
            return json.load(answer)


class Run:
    """The records through a router to `outputs` of `side`; `meanwhile` runs beside the sending."""

    def __init__(self, binary, side, outputs, meanwhile=None, limit=280, kinesis=""):
        monitor = free_port()
        service = "HTTP_Server On\nHTTP_Port %d\n" % monitor
        conf = configuration(side.endpoint, outputs).replace("[SERVICE]\n", "[SERVICE]\n" + "".join(
            "    %s\n" % line for line in service.splitlines()))
        conf = conf.replace("    Name kinesis", "%s    Name kinesis" % kinesis)
        start = time.monotonic()
        with Router(binary, conf) as router:
            path = router.path("fluent.sock")
            router.wait_for(path=path)
            other = threading.Thread(target=meanwhile or (lambda: None))
            other.start()
            send(path)
            sent = time.monotonic() - start
            other.join()

            def settled():
                numbers = self.metrics(monitor)
                return all(numbers.get(("fluentbit_output_proc_records_total", name), 0) >= RECORDS
                           for name in outputs if name != "s3-parts") and numbers
            self.numbers = until("everything is delivered", limit, settled)
            ledgers = router.stop(limit=120)
            self.log = router.log()
        for name in outputs:
            check(ledgers[name]["delivered"] == RECORDS, "%s: %s" % (name, ledgers[name]))
        print("  sent in %.1f s, all delivered %.1f s after the start" % (sent, time.monotonic() - start))

    @staticmethod
    def metrics(port):
        with urllib.request.urlopen("http://127.0.0.1:%d/api/v2/metrics/prometheus" % port, timeout=10) as answer:
            text = answer.read().decode()
        found = {}
        for match in re.finditer(r'^((?:firelane|fluentbit)_output_\w+)\{[^}]*name="([^"]*)"[^}]*\} (\d+)', text, re.M):
            found[match.group(1), match.group(2)] = int(match.group(3))
        return found

    def ambiguous(self, name):
        """Chunks that were sent again although they may have arrived."""
        return self.numbers.get(("firelane_output_ambiguous_chunks_total", name), 0)


def moto(binary):
    with Moto() as side:
        side.started()
        side.prepare()
        # It numbers records without a lock: of two calls at once it loses some.
        Run(binary, side, tuple(OUTPUTS), kinesis="    Workers 1\n")
        delivered(side, tuple(OUTPUTS))


def local(binary):
    with Local(binary) as side:
        side.started()
        side.prepare()
        Run(binary, side, tuple(OUTPUTS))
        delivered(side, tuple(OUTPUTS))
        # The same as `firelane logs` reads it.
        for tag in TAGS:
            texts = side.printed("--group", "c", "--stream", "from-" + tag)
            check([parsed(json.loads(text)["log"]) for text in texts] == [(tag[-1], n) for n in range(RECORDS // 2)],
                  "firelane logs --group: %d of %s, or another order" % (len(texts), tag))
        once("firelane logs --kinesis-stream", [parsed(json.loads(text)["log"]) for text in
                                                side.printed("--kinesis-stream", "c")], ordered=False)
        once("firelane logs --bucket", [parsed(json.loads(text)["log"]) for text in side.printed("--bucket", "objects")],
             ordered=False)
        found = side.printed("--group", "c", "--grep", "seq=00012345 of a")
        check(len(found) == 1, "--grep found %d" % len(found))


def refusals(binary):
    """Throttling, partial failures and credentials that expire: what the service refused is sent again, and nothing else."""
    with Local(binary) as side:
        side.started()
        side.prepare()
        side.faults(("logs", "throttle", 20), ("kinesis", "throttle", 20), ("firehose", "throttle", 20), ("s3", "throttle", 20),
                    ("kinesis", "partial", 5), ("firehose", "partial", 5), ("logs", "expired", 5), ("kinesis", "expired", 5),
                    ("firehose", "expired", 5), ("s3", "expired", 5))
        run = Run(binary, side, tuple(OUTPUTS))
        faults = side.injected()
        side.faults()
        delivered(side, tuple(OUTPUTS))
        check(all(run.ambiguous(name) == 0 for name in OUTPUTS), "what was refused counts as ambiguous")
        print("  faults: %s" % json.dumps(faults)[:300])


def outage(binary):
    """The AWS side goes away in the middle, for 30 s (10 s in CI), and comes back with what it had."""
    seconds = 30 if os.environ.get("FIRELANE_SOAK") == "1" else 10
    with Local(binary) as side:
        side.started()
        side.prepare()

        def away():
            time.sleep(1)
            side.stop()
            time.sleep(seconds)
            side.start()
            side.started()
        run = Run(binary, side, tuple(OUTPUTS), away)
        # A request that was on its way when the endpoint went may have arrived.
        delivered(side, tuple(OUTPUTS), lambda name: run.ambiguous(name) * 5000)


def lost(binary):
    """Answers are lost: at most those requests come twice, and the router counts them."""
    outputs = ("cloudwatch_logs", "kinesis_firehose", "kinesis_streams")
    with Local(binary) as side:
        side.started()
        side.prepare()
        side.faults(("logs", "lost", 3), ("kinesis", "lost", 3), ("firehose", "lost", 3))
        run = Run(binary, side, outputs)
        side.faults()
        most = {"cloudwatch_logs": 10_000, "emf": METRICS, "kinesis_firehose": 500, "kinesis_streams": 500}
        delivered(side, outputs, lambda name: run.ambiguous(name) * most[name])
        check(any(run.ambiguous(name) for name in outputs), "no answer was lost: nothing was tried")
        print("  sent again, as they may have arrived: %s" % {name: run.ambiguous(name) for name in outputs})


def sources(binary):
    """Configuration from AWS: objects, secrets and parameters by reference, and all that a task definition brings along."""
    with Local(binary) as side:
        side.started()
        secret = side.get("secretsmanager").create_secret(Name="web", SecretString='{"password": "pw"}')["ARN"]
        side.get("ssm").put_parameter(Name="/app/key", Value="a value", Type="SecureString")
        side.s3.create_bucket(Bucket="conf", CreateBucketConfiguration={"LocationConstraint": REGION})
        side.s3.put_object(Bucket="conf", Key="team/extra.conf", Body=b"[FILTER]\n    Name grep\n    Match *\n    Exclude log no\n")
        task = {"family": "web", "executionRoleArn": "arn:aws:iam::123456789012:role/exec", "containerDefinitions": [
            {"name": "router", "image": "firelane", "user": "0", "memoryReservation": 50, "firelensConfiguration": {
                "type": "fluentbit", "options": {"config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/team/extra.conf"}}},
            {"name": "app", "image": "app", "memory": 64, "logConfiguration": {
                "logDriver": "awsfirelens", "options": {"Name": "http", "Host": "127.0.0.1", "http_user": "u"},
                "secretOptions": [{"name": "http_passwd", "valueFrom": secret + ":password::"}]}}]}
        conf = "[INPUT]\n    Name dummy\n@INCLUDE %s\n[OUTPUT]\n    Name http\n    Match *\n    Header X-Key ${%s}\n" \
               "    HTTP_User u\n    HTTP_Passwd ${%s}\n"
        good = ("s3://conf/team/extra.conf", "ssm:/app/key", "secret:" + secret + ":password::")

        def dry(content, *arguments):
            path = os.path.join(side.folder, "given")
            with open(path, "w") as f:
                f.write(content)
            done = subprocess.run([binary, "router", *arguments, path, "--dry-run"], stdin=subprocess.DEVNULL, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                                  env=dict(os.environ, AWS_ENDPOINT_URL=side.endpoint))
            return done.returncode, done.stdout
        for content, arguments in ((json.dumps(task), ["--task"]), (conf % good, ["-c"])):
            code, text = dry(content, *arguments)
            check(code == 0 and "successful" in text, "%s ended with %d: %s" % (arguments, code, text))
        for at, bad, word in ((0, "arn:aws:s3:::conf/none.conf", "NoSuchKey"), (1, "ssm:/none", "invalid parameters: /none"),
                              (2, "secret:none", "ResourceNotFoundException"),
                              (2, "secret:" + secret + ":user::", "did not contain json key user")):
            code, text = dry(conf % (*good[:at], bad, *good[at + 1:]), "-c")
            check(code in (66, 78) and word in text, "%s ended with %d: %s" % (bad, code, text))
        print("  objects, secrets and parameters are fetched; what is missing is named")


CASES = {"sources": sources, "moto": moto, "local": local, "refusals": refusals, "outage": outage,
         "lost": lost}


def main():
    binary, only = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    for name, case in CASES.items():
        if only in ("", name):
            print("%s:" % name)
            case(binary)


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        print("FAIL: %s" % error)
        sys.exit(1)
