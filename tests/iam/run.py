#!/usr/bin/env python3
"""The policies of `firelane iam`, tried by others than us: a linter of the policy grammar and an AWS that enforces them.

    tests/iam/run.py --bin PATH --work FOLDER

Guarantees: `parliament` (PyPI), which knows AWS's actions and the forms of their resources, finds nothing wrong; `moto`
(PyPI) with IAM enforcement lets a role with the printed policy make every call of the task through boto3, and refuses
the same call on the next stream, group, bucket and prefix. FOLDER keeps the virtual environment between runs.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import cases, main  # noqa: E402

main(lambda: cases(__file__, dict(AWS_DEFAULT_REGION="us-west-2", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")))
