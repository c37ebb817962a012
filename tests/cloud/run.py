#!/usr/bin/env python3
"""The local AWS endpoint, tried by AWS's own clients: boto3 makes every call, the AWS CLI some, `firelane logs` reads back.

    tests/cloud/run.py --bin PATH --work FOLDER

Guarantees: botocore, which knows the shapes of every answer and the codes of every error, takes what `firelane aws`
says; limits and errors are AWS's; signatures are verified; faults come as the clients expect them; what was put is there
after a restart. FOLDER keeps the virtual environment between runs.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import cases, main  # noqa: E402

main(lambda: cases(__file__, dict(AWS_DEFAULT_REGION="us-east-1")))
