#!/usr/bin/env python3
"""The policies of `firelane iam`, tried by others than us: a linter of the policy grammar and an AWS that enforces them.

    tests/iam/run.py --bin PATH --work FOLDER

Guarantees: `parliament` (PyPI), which knows AWS's actions and the forms of their resources, finds nothing wrong; `moto`
(PyPI) with IAM enforcement lets a role with the printed policy make every call of the task through boto3, and refuses
the same call on the next stream, group, bucket and prefix. FOLDER keeps the virtual environment between runs.
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
    env.update(AWS_DEFAULT_REGION="us-west-2", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x",
               AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, PYTHONWARNINGS="ignore")
    done = subprocess.run([python, os.path.join(HERE, "cases.py"), os.path.abspath(options.bin)], env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=300)
    print(done.stdout, end="")
    check(done.returncode == 0, "the cases ended with %s" % done.returncode)


main(run)
