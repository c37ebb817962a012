#!/usr/bin/env python3
"""The local AWS endpoint, tried by AWS's own clients: boto3 makes every call, the AWS CLI some, `firelane logs` reads back.

    tests/cloud/run.py --bin PATH --work FOLDER

Guarantees: botocore, which knows the shapes of every answer and the codes of every error, takes what `firelane aws`
says; limits and errors are AWS's; signatures are verified; faults come as the clients expect them; what was put is there
after a restart. FOLDER keeps the virtual environment between runs.
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
    options = parser.parse_args()
    python = venv(os.path.abspath(options.work))
    # Nothing of the environment may lead to the real AWS.
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    env.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true",
               AWS_DEFAULT_REGION="us-east-1", PYTHONWARNINGS="ignore")
    done = subprocess.run([python, os.path.join(HERE, "cases.py"), os.path.abspath(options.bin)], env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=300)
    print(done.stdout, end="")
    check(done.returncode == 0, "the cases ended with %s" % done.returncode)


main(run)
