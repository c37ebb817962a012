"""A `firelane aws` under test, clients for it, and `firelane logs`."""

import os
import re
import subprocess
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BINARY = sys.argv[1]
KEY, SECRET = "AKIDLOCAL", "a/secret+key"


class Endpoint:
    """A context manager; stops it at the end and looks at its exit code."""

    def __init__(self, *arguments, environment=None):
        self.process = subprocess.Popen([BINARY, "aws", "--listen", "127.0.0.1:0", *arguments], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**os.environ, **(environment or {})})
        said = [self.process.stdout.readline() for _ in range(6)]
        match = re.search(r"AWS_ENDPOINT_URL=(http://\S+)", "".join(said))
        assert match, "it said %r %r" % (said, self.process.stderr.read())
        self.url = match.group(1)
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            print("--- the endpoint said: %s" % self.process.communicate()[1][-3000:])

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.said = self.process.communicate(timeout=20)[1]
        assert self.process.returncode == 0, "it ended with %s: %s" % (self.process.returncode, self.said)

    def client(self, service, key=KEY, secret=SECRET, token=None, retries=0, timeout=10, **config):
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=key,
                            aws_secret_access_key=secret, aws_session_token=token,
                            config=Config(retries={"max_attempts": retries, "mode": "standard"}, read_timeout=timeout,
                                          connect_timeout=5, **config))

    def cli(self, *arguments, check=True):
        """The AWS CLI; what it printed."""
        aws = os.path.join(os.path.dirname(sys.executable), "aws")
        env = {**os.environ, "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        done = subprocess.run([aws, *arguments], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60)
        assert not check or done.returncode == 0, "%s: %s" % (arguments, done.stderr)
        return done.stdout if check else done.stderr

    def logs(self, *arguments):
        """`firelane logs` at this endpoint; its lines."""
        return logs("--endpoint", self.url, *arguments)


def logs(*arguments):
    done = subprocess.run([BINARY, "logs", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, "%s: %s" % (arguments, done.stderr)
    return done.stdout.rstrip("\n").split("\n") if done.stdout else []


def refused(code, call, **arguments):
    """Makes a call that must be refused with a code; the error."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, "%s, not %s: %s" % (found, code, error)
        metadata = error.response["ResponseMetadata"]
        assert metadata["RequestId"], "no request id: %s" % metadata
        return error.response
    raise AssertionError("%s was taken: %s" % (arguments, str(answer)[:300]))


def pages(call, member, token_out, token_in, **arguments):
    """All entries of an operation with pages, one page after the other."""
    found = []
    while True:
        answer = call(**arguments)
        found += answer[member]
        if not answer.get(token_out):
            return found
        arguments[token_in] = answer[token_out]
