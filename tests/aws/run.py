#!/usr/bin/env python3
"""The AWS outputs against two AWS sides: `moto` (PyPI), and our own local endpoint.

    tests/aws/run.py --bin PATH --work FOLDER [--only sources|moto|local|refusals|outage|lost]

Guarantees: 50,000 records over the FireLens path reach each destination once, in order within a stream, as boto3 reads
them back; embedded metrics arrive as they were written; with refusals, partial failures, credentials that expire and an
outage none is lost, and only a request whose answer was lost comes twice. FOLDER keeps the virtual environment.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import cases, main  # noqa: E402

ENV = {"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKIDTEST",
       "AWS_SECRET_ACCESS_KEY": "secret"}

main(lambda: cases(__file__, ENV, "--only", limit=900))
