#!/usr/bin/env python3
"""The AWS outputs against two AWS sides: `moto` (PyPI), and our own local endpoint.

    tests/aws/run.py --bin PATH --work FOLDER [--only sources|moto|local|refusals|outage|lost]

Guarantees: 50,000 records over the FireLens path reach each destination once, in order within a stream, as boto3 reads
them back; embedded metrics arrive as they were written; with refusals, partial failures, credentials that expire and an
outage none is lost, and only a request whose answer was lost comes twice. FOLDER keeps the virtual environment.
"""

import argparse
import os
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import check, main, venv  # noqa: E402


def run():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    python = venv(os.path.abspath(options.work))
    # Nothing of the environment may lead to the real AWS.
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    env.update(AWS_REGION="us-west-2", AWS_DEFAULT_REGION="us-west-2", AWS_ACCESS_KEY_ID="AKIDTEST",
               AWS_SECRET_ACCESS_KEY="secret", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
               AWS_EC2_METADATA_DISABLED="true", PYTHONWARNINGS="ignore", PYTHONUNBUFFERED="1")
    done = subprocess.run([python, os.path.join(HERE, "cases.py"), os.path.abspath(options.bin), options.only], env=env,
                          stdin=subprocess.DEVNULL, timeout=900)
    check(done.returncode == 0, "the cases ended with %s" % done.returncode)


main(run)
