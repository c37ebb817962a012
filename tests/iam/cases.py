"""The cases of run.py, in its virtual environment: cases.py BINARY."""

import json
import os
import subprocess
import sys
import tempfile

import boto3
import parliament
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count
from moto.firehose.responses import FirehoseResponse
from moto.kinesis.responses import KinesisResponse
from moto.logs.responses import LogsResponse
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.ssm.responses import SimpleSystemManagerResponse

BINARY = sys.argv[1]
ACCOUNT, REGION = "123456789012", "us-west-2"
SECRET = "arn:aws:secretsmanager:%s:%s:secret:app/key-AbCdEf" % (REGION, ACCOUNT)
LOG_ROUTER = {
    "name": "log_router", "image": "%s.dkr.ecr.%s.amazonaws.com/router:1" % (ACCOUNT, REGION),
    "firelensConfiguration": {"type": "fluentbit"},
    "logConfiguration": {"logDriver": "awslogs", "options": {
        "awslogs-group": "/ecs/router", "awslogs-region": REGION, "awslogs-stream-prefix": "r",
        "awslogs-create-group": "true"}},
}


def arn(service, resource):
    return "arn:aws:%s:%s:%s:%s" % (service, REGION, ACCOUNT, resource)


def task(**options):
    """A task with one container for each output."""
    users = [{"name": name, "image": "app", "logConfiguration": {"logDriver": "awsfirelens", **log}}
             for name, log in options.items()]
    return {"family": "web", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256",
            "memory": "512", "taskRoleArn": "arn:aws:iam::%s:role/task" % ACCOUNT,
            "executionRoleArn": "arn:aws:iam::%s:role/execution" % ACCOUNT,
            "containerDefinitions": [LOG_ROUTER, *users]}


TASK = task(
    firehose={"options": {"Name": "kinesis_firehose", "region": REGION, "delivery_stream": "logs"}},
    kinesis={"options": {"Name": "kinesis_streams", "region": REGION, "stream": "events"}},
    cloudwatch={"options": {"Name": "cloudwatch_logs", "region": REGION, "log_group_name": "/ecs/web",
                            "log_stream_prefix": "web-", "auto_create_group": "true", "log_retention_days": "7"}},
    s3={"options": {"Name": "s3", "region": REGION, "bucket": "archive", "s3_key_format": "/web/$TAG/%Y/%m/%d",
                    "use_put_object": "On", "total_file_size": "1M"}},
    datadog={"options": {"Name": "datadog", "Host": "h"}, "secretOptions": [
        {"name": "apikey", "valueFrom": SECRET}, {"name": "dd_tags", "valueFrom": "/web/tags"}]},
)


def policy(definition, role):
    with tempfile.TemporaryDirectory(prefix="firelane-iam-") as folder:
        path = os.path.join(folder, "task.json")
        with open(path, "w") as f:
            json.dump(definition, f)
        done = subprocess.run([BINARY, "iam", path, "--role", role, "--region", REGION], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lint(name, text):
    """What `parliament` has against a policy."""
    found = parliament.analyze_policy_string(text).findings
    assert not found, "%s: parliament says %s of\n%s" % (name, [str(one) for one in found], text)


# moto looks at resources for S3 only: for the other services the resource of a call is told here.
def resource_of(service, make):
    def resource(self):
        get = self._get_param if hasattr(self, "_get_param") else self.parameters.get
        return arn(service, make(get))
    return resource


def logs_resource(self):
    get = self._get_param
    put = self._get_action() == "PutLogEvents"
    return arn("logs", "log-group:%s:%s" % (get("logGroupName"), "log-stream:" + get("logStreamName") if put else ""))


LogsResponse._determine_resource = logs_resource
FirehoseResponse._determine_resource = resource_of("firehose", lambda get: "deliverystream/%s" % get("DeliveryStreamName"))
KinesisResponse._determine_resource = resource_of("kinesis", lambda get: "stream/%s" % get("StreamName"))
SecretsManagerResponse._determine_resource = lambda self: self._get_param("SecretId")
SimpleSystemManagerResponse._determine_resource = resource_of(
    "ssm", lambda get: "parameter/%s" % get("Names")[0].lstrip("/"))


def session(name, document):
    """A session of a role that has just this policy."""
    iam = boto3.client("iam")
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"},
                                                     "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    keys = boto3.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    return boto3.Session(aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"],
                         aws_session_token=keys["SessionToken"], region_name=REGION)


def allowed(call):
    """Whether IAM lets a call through; what the service says then does not matter."""
    try:
        call()
    except ClientError as error:
        # moto's body is XML even where the protocol is JSON, so the code may be unreadable; the status is not.
        return error.response["ResponseMetadata"]["HTTPStatusCode"] != 403
    return True


def calls_of_task(session):
    """Calls: name, whether the task needs it, the call."""
    firehose, kinesis = session.client("firehose"), session.client("kinesis")
    logs, s3 = session.client("logs"), session.client("s3")
    record = [{"Data": b"x", "PartitionKey": "k"}]
    put = lambda group, stream: lambda: logs.put_log_events(  # noqa: E731
        logGroupName=group, logStreamName=stream, logEvents=[{"timestamp": 0, "message": "x"}])
    return [
        ("firehose", True, lambda: firehose.put_record_batch(DeliveryStreamName="logs", Records=[{"Data": b"x"}])),
        ("another delivery stream", False,
         lambda: firehose.put_record_batch(DeliveryStreamName="logs2", Records=[{"Data": b"x"}])),
        ("deleting the delivery stream", False, lambda: firehose.delete_delivery_stream(DeliveryStreamName="logs")),
        ("kinesis", True, lambda: kinesis.put_records(StreamName="events", Records=record)),
        ("another stream", False, lambda: kinesis.put_records(StreamName="event", Records=record)),
        ("reading the stream", False, lambda: kinesis.describe_stream(StreamName="events")),
        ("a group", True, lambda: logs.create_log_group(logGroupName="/ecs/web")),
        ("a log stream", True, lambda: logs.create_log_stream(logGroupName="/ecs/web", logStreamName="web-1")),
        ("log events", True, put("/ecs/web", "web-1")),
        ("retention", True, lambda: logs.put_retention_policy(logGroupName="/ecs/web", retentionInDays=7)),
        ("events of another prefix", False, put("/ecs/web", "other-1")),
        ("events of another group", False, put("/ecs/webb", "web-1")),
        ("deleting the group", False, lambda: logs.delete_log_group(logGroupName="/ecs/web")),
        ("an object", True, lambda: s3.put_object(Bucket="archive", Key="web/app-firelens-1/2026/x", Body=b"x")),
        ("an object beside", False, lambda: s3.put_object(Bucket="archive", Key="other/x", Body=b"x")),
        ("an object of another bucket", False, lambda: s3.put_object(Bucket="archive2", Key="web/a/x", Body=b"x")),
        ("reading an object", False, lambda: s3.get_object(Bucket="archive", Key="web/app-firelens-1/2026/x")),
    ]


def calls_of_execution(session):
    secrets, ssm, logs = session.client("secretsmanager"), session.client("ssm"), session.client("logs")
    return [
        ("the secret", True, lambda: secrets.get_secret_value(SecretId=SECRET)),
        ("another secret", False, lambda: secrets.get_secret_value(SecretId=SECRET.replace("app/key", "app/other"))),
        ("the parameter", True, lambda: ssm.get_parameters(Names=["/web/tags"], WithDecryption=True)),
        ("another parameter", False, lambda: ssm.get_parameters(Names=["/web/keys"], WithDecryption=True)),
        ("the router's own stream", True,
         lambda: logs.create_log_stream(logGroupName="/ecs/router", logStreamName="r/log_router/1")),
        ("another group's stream", False,
         lambda: logs.create_log_stream(logGroupName="/ecs/web", logStreamName="r/log_router/1")),
    ]


@mock_aws
def enforced(role, document, calls):
    """Tries calls against the policy; gives their number."""
    s3 = boto3.client("s3")
    for bucket in ("archive", "archive2"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    tried = calls(session(role, document))

    @set_initial_no_auth_action_count(0)
    def attempt():
        for name, needed, call in tried:
            assert allowed(call) == needed, "%s role: %s is %s by\n%s" % (
                role, name, "denied" if needed else "allowed", document)

    attempt()
    return len(tried)


def main():
    count = 0
    for role, calls in (("task", calls_of_task), ("execution", calls_of_execution)):
        document = policy(TASK, role)
        lint(role, document)
        count += enforced(role, document, calls)
    vectors = os.environ.get("FIRELANE_VECTORS", os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "shared", "vectors"))
    linted = 0
    for case in sorted(os.listdir(os.path.join(vectors, "ecs"))):
        path = os.path.join(vectors, "ecs", case, "task-definition.json")
        if os.path.exists(path):
            with open(path) as f:
                definition = json.load(f)
            for role in ("task", "execution"):
                text = policy(definition, role)
                if text:
                    lint("%s, %s" % (case, role), text)
                    linted += 1
    assert linted >= 20, "only %d policies" % linted
    print("%d calls as the policies say, %d policies without a finding" % (count, linted))


main()
