"""Sends numbered records with the fluent-logger of PyPI: client.py PORT COUNT."""

import sys

from fluent import sender

port, count = int(sys.argv[1]), int(sys.argv[2])
logger = sender.FluentSender("py", host="127.0.0.1", port=port, nanosecond_precision=True)
for number in range(1, count + 1):
    if not logger.emit("app", {"seq": number, "log": "a line of a Python program, ä"}):
        sys.exit("record %d was not sent: %s" % (number, logger.last_error))
logger.close()
if logger.pendings:
    sys.exit("%d bytes were left over" % len(logger.pendings))
