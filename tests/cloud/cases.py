"""The cases of run.py, in its virtual environment: cases.py BINARY."""

import base64
import gzip
import hashlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from botocore.exceptions import ConnectionClosedError, ConnectionError, ReadTimeoutError

from endpoint import BINARY, KEY, SECRET, Endpoint, logs, pages, refused

HOUR = 3600 * 1000
MIB = 1 << 20


def now():
    return int(time.time() * 1000)


def events(*messages, at=None):
    at = at or now()
    return [{"timestamp": at + n, "message": message} for n, message in enumerate(messages)]


def cloudwatch_logs(endpoint):
    api = endpoint.client("logs")
    put = api.put_log_events
    refused("ResourceNotFoundException", put, logGroupName="g", logStreamName="s", logEvents=events("x"))
    api.create_log_group(logGroupName="/app/web", tags={"team": "a"})
    refused("ResourceAlreadyExistsException", api.create_log_group, logGroupName="/app/web")
    refused("InvalidParameterException", api.create_log_group, logGroupName="a b")
    refused("ResourceNotFoundException", put, logGroupName="/app/web", logStreamName="s", logEvents=events("x"))
    api.create_log_stream(logGroupName="/app/web", logStreamName="one")
    api.create_log_stream(logGroupName="/app/web", logStreamName="two")
    refused("ResourceAlreadyExistsException", api.create_log_stream, logGroupName="/app/web", logStreamName="one")
    refused("InvalidParameterException", api.create_log_stream, logGroupName="/app/web", logStreamName="a:b")
    one = {"logGroupName": "/app/web", "logStreamName": "one"}
    base = now() - 1000
    answer = put(**one, logEvents=events("first é", 'se"cond\n', "third", at=base))
    assert answer["nextSequenceToken"], answer
    put(logGroupName="/app/web", logStreamName="two", logEvents=events("ERROR between", at=base + 1))
    api.put_retention_policy(logGroupName="/app/web", retentionInDays=1)
    refused("InvalidParameterException", api.put_retention_policy, logGroupName="/app/web", retentionInDays=2)

    # Limits.
    unsorted = [{"timestamp": base + 1, "message": "b"}, {"timestamp": base, "message": "a"}]
    error = refused("InvalidParameterException", put, **one, logEvents=unsorted)
    assert "chronological order" in error["Error"]["Message"]
    wide = [{"timestamp": now() - 25 * HOUR, "message": "a"}, {"timestamp": now(), "message": "b"}]
    refused("InvalidParameterException", put, **one, logEvents=wide)
    refused("InvalidParameterException", put, **one, logEvents=events(*["x"] * 10001))
    refused("InvalidParameterException", put, **one, logEvents=events("x" * (MIB - 25)))
    refused("InvalidParameterException", put, **one, logEvents=events(*["x" * 600_000] * 2))
    spread = [{"timestamp": now() - 30 * HOUR, "message": "expired"}] + events("kept", at=now() - 7 * HOUR)
    info = put(**one, logEvents=spread[:1])["rejectedLogEventsInfo"]
    assert info == {"expiredLogEventEndIndex": 1}, info
    info = put(**one, logEvents=[{"timestamp": now() - 15 * 24 * HOUR, "message": "old"}])["rejectedLogEventsInfo"]
    assert info == {"tooOldLogEventEndIndex": 1}, info
    info = put(**one, logEvents=events("ok") + events("new", at=now() + 3 * HOUR))["rejectedLogEventsInfo"]
    assert info == {"tooNewLogEventStartIndex": 1}, info

    # Reading, with pages both ways.
    all_events = api.get_log_events(**one, startFromHead=True)
    messages = [event["message"] for event in all_events["events"]]
    assert messages == ["first é", 'se"cond\n', "third", "ok"], messages
    again = api.get_log_events(**one, nextToken=all_events["nextForwardToken"])
    assert again["events"] == [] and again["nextForwardToken"] == all_events["nextForwardToken"], again
    last = api.get_log_events(**one, limit=1)
    assert [event["message"] for event in last["events"]] == ["ok"], last
    before = api.get_log_events(**one, limit=2, nextToken=last["nextBackwardToken"])
    assert [event["message"] for event in before["events"]] == ['se"cond\n', "third"], before
    head = api.get_log_events(**one, startFromHead=True, limit=3)
    rest = api.get_log_events(**one, nextToken=head["nextForwardToken"])
    assert [event["message"] for event in rest["events"]] == ["ok"], rest
    refused("InvalidParameterException", api.get_log_events, **one, nextToken="junk")
    found = pages(api.filter_log_events, "events", "nextToken", "nextToken", logGroupName="/app/web", limit=2)
    assert [event["message"] for event in found] == ["first é", 'se"cond\n', "ERROR between", "third", "ok"] or \
        [event["message"] for event in found] == ["first é", "ERROR between", 'se"cond\n', "third", "ok"], found
    found = api.filter_log_events(logGroupName="/app/web", filterPattern="ERROR -third")["events"]
    assert [(event["logStreamName"], event["message"]) for event in found] == [("two", "ERROR between")], found
    refused("InvalidParameterException", api.filter_log_events, logGroupName="/app/web", filterPattern="{ $.a = 1 }")

    # Descriptions, tags, pages.
    group = api.describe_log_groups(logGroupNamePrefix="/app")["logGroups"][0]
    assert group["retentionInDays"] == 1 and group["arn"].endswith(":log-group:/app/web:*"), group
    streams = pages(api.describe_log_streams, "logStreams", "nextToken", "nextToken", logGroupName="/app/web", limit=1)
    assert [stream["logStreamName"] for stream in streams] == ["one", "two"], streams
    assert streams[0]["firstEventTimestamp"] == base, streams
    latest = api.describe_log_streams(logGroupName="/app/web", orderBy="LastEventTime", descending=True)["logStreams"]
    assert latest[0]["logStreamName"] == "one", latest
    api.tag_resource(resourceArn=group["logGroupArn"], tags={"stage": "x"})
    api.tag_log_group(logGroupName="/app/web", tags={"old": "y"})
    tags = api.list_tags_for_resource(resourceArn=group["logGroupArn"])["tags"]
    assert tags == {"team": "a", "stage": "x", "old": "y"}, tags
    api.untag_resource(resourceArn=group["logGroupArn"], tagKeys=["old"])
    api.untag_log_group(logGroupName="/app/web", tags=["stage"])
    assert api.list_tags_log_group(logGroupName="/app/web")["tags"] == {"team": "a"}
    api.delete_retention_policy(logGroupName="/app/web")
    api.create_log_group(logGroupName="gone")
    api.create_log_stream(logGroupName="gone", logStreamName="s")
    api.delete_log_stream(logGroupName="gone", logStreamName="s")
    api.delete_log_group(logGroupName="gone")
    refused("ResourceNotFoundException", api.delete_log_group, logGroupName="gone")

    lines = endpoint.logs("--group", "/app/web")
    assert len(lines) == 5 and any(" two ERROR between" in line for line in lines), lines
    assert endpoint.logs("--group", "/app/web", "--stream", "one", "--grep", "third")[0].endswith("Z third")
    record = json.loads(endpoint.logs("--group", "/app/web", "--format", "json")[0])
    assert record["part"] == "one" and record["text"] == "first é", record


def firehose(endpoint):
    api = endpoint.client("firehose")
    refused("ResourceNotFoundException", api.put_record, DeliveryStreamName="d", Record={"Data": b"x"})
    s3 = {"RoleARN": "arn:aws:iam::123456789012:role/d", "BucketARN": "arn:aws:s3:::archive"}
    arn = api.create_delivery_stream(DeliveryStreamName="d", ExtendedS3DestinationConfiguration=s3)
    assert arn["DeliveryStreamARN"].endswith(":deliverystream/d"), arn
    refused("ResourceInUseException", api.create_delivery_stream, DeliveryStreamName="d")
    api.create_delivery_stream(DeliveryStreamName="e")
    described = api.describe_delivery_stream(DeliveryStreamName="d")["DeliveryStreamDescription"]
    assert described["DeliveryStreamStatus"] == "ACTIVE", described
    assert described["Destinations"][0]["ExtendedS3DestinationDescription"]["BucketARN"] == s3["BucketARN"], described
    listed = api.list_delivery_streams(Limit=1)
    assert listed["DeliveryStreamNames"] == ["d"] and listed["HasMoreDeliveryStreams"], listed
    assert api.put_record(DeliveryStreamName="d", Record={"Data": b"one\n"})["RecordId"]
    answer = api.put_record_batch(DeliveryStreamName="d", Records=[{"Data": b"two\n"}, {"Data": bytes(range(256))}])
    assert answer["FailedPutCount"] == 0 and len({each["RecordId"] for each in answer["RequestResponses"]}) == 2, answer
    batch = lambda data: {"DeliveryStreamName": "d", "Records": [{"Data": each} for each in data]}
    refused("ValidationException", api.put_record_batch, **batch([b"x"] * 501))
    refused("ValidationException", api.put_record_batch, **batch([b"x" * 1_024_001]))
    refused("InvalidArgumentException", api.put_record_batch, **batch([b"x" * 1_000_000] * 5))
    assert [line.split(" ", 1)[1] for line in endpoint.logs("--delivery-stream", "d")[:2]] == ["one", "two"]


def kinesis(endpoint):
    api = endpoint.client("kinesis")
    refused("ResourceNotFoundException", api.put_record, StreamName="k", Data=b"x", PartitionKey="p")
    api.create_stream(StreamName="k", ShardCount=2)
    refused("ResourceInUseException", api.create_stream, StreamName="k", ShardCount=2)
    api.create_stream(StreamName="many", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    api.get_waiter("stream_exists").wait(StreamName="k", WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    described = api.describe_stream(StreamName="k")["StreamDescription"]
    shards = [shard["ShardId"] for shard in described["Shards"]]
    assert shards == ["shardId-000000000000", "shardId-000000000001"], shards
    summary = api.describe_stream_summary(StreamARN=described["StreamARN"])["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2, summary
    found = pages(api.list_shards, "Shards", "NextToken", "NextToken", StreamName="many")
    assert len(found) == 4, found
    first = api.list_shards(StreamName="many", MaxResults=3)
    rest = api.list_shards(NextToken=first["NextToken"])
    assert len(rest["Shards"]) == 1, rest
    assert api.list_streams()["StreamNames"] == ["k", "many"]

    # The keys decide, by MD5: half of the space each.
    sent = [(b"record %d" % n, "key-%d" % n) for n in range(100)]
    want = [int(hashlib.md5(key.encode()).hexdigest(), 16) >> 127 for _, key in sent]
    answer = api.put_records(StreamName="k", Records=[{"Data": d, "PartitionKey": k} for d, k in sent])
    assert answer["FailedRecordCount"] == 0
    assert [shards.index(record["ShardId"]) for record in answer["Records"]] == want
    single = api.put_record(StreamName="k", Data=b"\xf3\x89\x9a\xc2 aggregate", PartitionKey="x", ExplicitHashKey="0")
    assert single["ShardId"] == shards[0], single

    def read(shard, **how):
        iterator = api.get_shard_iterator(StreamName="k", ShardId=shard, **how)["ShardIterator"]
        got = []
        while True:
            answer = api.get_records(ShardIterator=iterator, Limit=7)
            got += answer["Records"]
            if answer["MillisBehindLatest"] == 0:
                return got
            iterator = answer["NextShardIterator"]

    both = [read(shard, ShardIteratorType="TRIM_HORIZON") for shard in shards]
    data = [record["Data"] for records in both for record in records]
    assert sorted(data) == sorted([d for d, _ in sent] + [b"\xf3\x89\x9a\xc2 aggregate"])
    assert [record["Data"] for record in both[0]] == [d for (d, _), at in zip(sent, want) if at == 0] + [data[len(both[0]) - 1]]
    third = both[1][2]["SequenceNumber"]
    at = read(shards[1], ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=third)
    after = read(shards[1], ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=third)
    assert at == both[1][2:] and after == both[1][3:]
    assert read(shards[0], ShardIteratorType="LATEST") == []
    assert read(shards[0], ShardIteratorType="AT_TIMESTAMP", Timestamp=time.time() - 60) == both[0]
    refused("InvalidArgumentException", api.get_records, ShardIterator="junk")
    refused("ResourceNotFoundException", api.get_shard_iterator, StreamName="k", ShardId="shardId-000000000009",
            ShardIteratorType="LATEST")
    put = lambda data, key="k": {"StreamName": "k", "Records": [{"Data": each, "PartitionKey": key} for each in data]}
    refused("ValidationException", api.put_records, **put([b"x"] * 501))
    refused("InvalidArgumentException", api.put_records, **put([b"x" * MIB] * 10 + [b"x" * 100]))
    refused("ValidationException", api.put_records, **put([b"x"], key="k" * 257))
    assert len(endpoint.logs("--kinesis-stream", "k")) == 101


def s3(endpoint):
    api = endpoint.client("s3")
    refused("NoSuchBucket", api.put_object, Bucket="archive", Key="k", Body=b"x")
    refused("404", api.head_bucket, Bucket="archive")
    api.create_bucket(Bucket="archive")
    refused("InvalidBucketName", api.create_bucket, Bucket="192.168.0.1")
    api.create_bucket(Bucket="other", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert api.head_bucket(Bucket="archive")["BucketRegion"] == "us-east-1"
    assert api.get_bucket_location(Bucket="archive")["LocationConstraint"] is None
    assert api.get_bucket_location(Bucket="other")["LocationConstraint"] == "eu-west-1"
    assert [bucket["Name"] for bucket in api.list_buckets()["Buckets"]] == ["archive", "other"]
    body = b"0123456789" * 1000
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    put = api.put_object(Bucket="archive", Key="a/b c+ü.txt", Body=body, ContentMD5=md5, ContentType="text/plain",
                         Metadata={"made": "here"}, StorageClass="STANDARD_IA")
    assert put["ETag"] == '"%s"' % hashlib.md5(body).hexdigest() and put["ChecksumCRC32"], put
    got = api.get_object(Bucket="archive", Key="a/b c+ü.txt")
    assert got["Body"].read() == body and got["ContentType"] == "text/plain" and got["Metadata"] == {"made": "here"}
    assert got["StorageClass"] == "STANDARD_IA", got
    part = api.get_object(Bucket="archive", Key="a/b c+ü.txt", Range="bytes=5-14")
    assert part["Body"].read() == b"5678901234" and part["ContentRange"] == "bytes 5-14/10000", part
    refused("InvalidRange", api.get_object, Bucket="archive", Key="a/b c+ü.txt", Range="bytes=10000-")
    assert api.head_object(Bucket="archive", Key="a/b c+ü.txt")["ContentLength"] == 10000
    refused("404", api.head_object, Bucket="archive", Key="none")
    refused("NoSuchKey", api.get_object, Bucket="archive", Key="none")
    refused("BadDigest", api.put_object, Bucket="archive", Key="k", Body=b"x", ContentMD5=md5)
    refused("InvalidDigest", api.put_object, Bucket="archive", Key="k", Body=b"x", ContentMD5="eA==")
    refused("KeyTooLongError", api.put_object, Bucket="archive", Key="k" * 1025, Body=b"x")
    refused("BadDigest", api.put_object, Bucket="archive", Key="k", Body=b"x", ChecksumCRC32="AAAAAA==")
    for name in ("CRC32", "CRC32C", "SHA1", "SHA256"):
        try:
            put = api.put_object(Bucket="archive", Key="sum", Body=b"summed", ChecksumAlgorithm=name)
        except Exception as error:  # botocore has CRC-32C only with its optional package
            assert "awscrt" in str(error).lower() or "crt" in str(error).lower(), error
            continue
        got = api.get_object(Bucket="archive", Key="sum", ChecksumMode="ENABLED")
        assert got["Checksum" + name] == put["Checksum" + name] and got["Body"].read() == b"summed", got
    refused("PreconditionFailed", api.put_object, Bucket="archive", Key="sum", Body=b"x", IfNoneMatch="*")
    refused("304", api.get_object, Bucket="archive", Key="sum", IfNoneMatch=put["ETag"])
    refused("NotImplemented", api.get_bucket_acl, Bucket="archive")
    address = endpoint.client("s3", signature_version="s3v4").generate_presigned_url(
        "get_object", Params={"Bucket": "archive", "Key": "sum"}, ExpiresIn=60)
    with urllib.request.urlopen(address, timeout=10) as response:
        assert response.read() == b"summed"

    # Lists.
    for n in range(25):
        api.put_object(Bucket="other", Key="logs/%02d/x" % n, Body=b"")
        api.put_object(Bucket="other", Key="logs/%02d/y" % n, Body=b"")
    api.put_object(Bucket="other", Key="top", Body=b"")
    found = pages(api.list_objects_v2, "Contents", "NextContinuationToken", "ContinuationToken", Bucket="other", MaxKeys=7)
    assert len(found) == 51 and [each["Key"] for each in found] == sorted(each["Key"] for each in found)
    found = pages(api.list_objects_v2, "CommonPrefixes", "NextContinuationToken", "ContinuationToken", Bucket="other",
                  Prefix="logs/", Delimiter="/", MaxKeys=10)
    assert [each["Prefix"] for each in found] == ["logs/%02d/" % n for n in range(25)]
    old = api.list_objects(Bucket="other", Delimiter="/", MaxKeys=1)
    assert old["IsTruncated"] and old["NextMarker"] == "logs/", old
    assert api.list_objects(Bucket="other", Delimiter="/", Marker="logs/")["Contents"][0]["Key"] == "top"
    assert api.list_objects_v2(Bucket="other", StartAfter="logs/24/x")["KeyCount"] == 2
    refused("BucketNotEmpty", api.delete_bucket, Bucket="other")
    api.delete_objects(Bucket="other", Delete={"Objects": [{"Key": each["Key"]} for each in
                                                           api.list_objects_v2(Bucket="other")["Contents"]]})
    api.delete_object(Bucket="other", Key="top")
    api.delete_bucket(Bucket="other")

    # Multipart.
    start = {"Bucket": "archive", "Key": "big"}
    upload = api.create_multipart_upload(**start, ContentType="x/y")["UploadId"]
    assert api.list_multipart_uploads(Bucket="archive")["Uploads"][0]["UploadId"] == upload
    refused("NoSuchUpload", api.upload_part, **start, UploadId="none", PartNumber=1, Body=b"x")
    refused("InvalidArgument", api.upload_part, **start, UploadId=upload, PartNumber=10001, Body=b"x")
    one, two = os.urandom(5 * MIB), b"tail"
    tags = [api.upload_part(**start, UploadId=upload, PartNumber=n, Body=data)["ETag"] for n, data in ((1, two), (3, two))]
    listed = [{"PartNumber": n, "ETag": tag} for n, tag in zip((1, 3), tags)]
    complete = lambda parts: {**start, "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    refused("EntityTooSmall", api.complete_multipart_upload, **complete(listed))
    listed[0]["ETag"] = api.upload_part(**start, UploadId=upload, PartNumber=1, Body=one)["ETag"]
    assert [part["Size"] for part in api.list_parts(**start, UploadId=upload)["Parts"]] == [5 * MIB, 4]
    refused("InvalidPartOrder", api.complete_multipart_upload, **complete(listed[::-1]))
    refused("InvalidPart", api.complete_multipart_upload, **complete(listed + [{"PartNumber": 4, "ETag": "x"}]))
    done = api.complete_multipart_upload(**complete(listed))
    digest = hashlib.md5(hashlib.md5(one).digest() + hashlib.md5(two).digest()).hexdigest()
    assert done["ETag"] == '"%s-2"' % digest, done
    got = api.get_object(**start)
    assert got["Body"].read() == one + two and got["ContentType"] == "x/y"
    assert api.get_object(**start, PartNumber=2)["Body"].read() == two
    refused("InvalidPartNumber", api.get_object, **start, PartNumber=3)
    across = api.get_object(**start, Range="bytes=%d-%d" % (5 * MIB - 2, 5 * MIB + 1))["Body"].read()
    assert across == one[-2:] + b"ta"
    refused("NoSuchUpload", api.complete_multipart_upload, **complete(listed))
    upload = api.create_multipart_upload(**start)["UploadId"]
    api.abort_multipart_upload(**start, UploadId=upload)
    refused("NoSuchUpload", api.list_parts, **start, UploadId=upload)
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(20 * MIB))
        file.flush()
        api.upload_file(file.name, "archive", "by-manager")
        with tempfile.NamedTemporaryFile() as back:
            api.download_file("archive", "by-manager", back.name)
            assert open(back.name, "rb").read() == open(file.name, "rb").read()

    api.delete_object(Bucket="archive", Key="by-manager")
    api.delete_object(Bucket="archive", Key="big")
    api.put_object(Bucket="archive", Key="a/log.gz", Body=gzip.compress(b"one\ntwo\n"), ContentEncoding="gzip")
    lines = endpoint.logs("--bucket", "archive", "--grep", "two")
    assert len(lines) == 1 and lines[0].endswith(" a/log.gz two"), lines


def secrets_and_parameters(endpoint):
    api = endpoint.client("secretsmanager")
    refused("ResourceNotFoundException", api.get_secret_value, SecretId="app/key")
    made = api.create_secret(Name="app/key", SecretString='{"k":"v"}', Description="d", Tags=[{"Key": "a", "Value": "b"}])
    refused("ResourceExistsException", api.create_secret, Name="app/key", SecretString="x")
    refused("ValidationException", api.create_secret, Name="a b", SecretString="x")
    got = api.get_secret_value(SecretId=made["ARN"])
    assert got["SecretString"] == '{"k":"v"}' and got["VersionStages"] == ["AWSCURRENT"], got
    put = api.put_secret_value(SecretId="app/key", SecretBinary=b"\x00\x01")
    assert api.get_secret_value(SecretId=made["ARN"][:-7])["SecretBinary"] == b"\x00\x01"
    old = api.get_secret_value(SecretId="app/key", VersionStage="AWSPREVIOUS")
    assert old["VersionId"] == made["VersionId"], old
    assert api.get_secret_value(SecretId="app/key", VersionId=put["VersionId"])["SecretBinary"]
    refused("ResourceNotFoundException", api.get_secret_value, SecretId="app/key", VersionStage="NONE")
    described = api.describe_secret(SecretId="app/key")
    assert described["VersionIdsToStages"] == {made["VersionId"]: ["AWSPREVIOUS"], put["VersionId"]: ["AWSCURRENT"]}
    api.create_secret(Name="b", SecretString="x")
    found = pages(api.list_secrets, "SecretList", "NextToken", "NextToken", MaxResults=1)
    assert [secret["Name"] for secret in found] == ["app/key", "b"], found
    api.delete_secret(SecretId="b", ForceDeleteWithoutRecovery=True)

    api = endpoint.client("ssm")
    refused("ParameterNotFound", api.get_parameter, Name="/app/a")
    assert api.put_parameter(Name="/app/a", Value="plain", Type="String")["Version"] == 1
    refused("ParameterAlreadyExists", api.put_parameter, Name="/app/a", Value="x", Type="String")
    assert api.put_parameter(Name="/app/a", Value="second", Type="String", Overwrite=True)["Version"] == 2
    api.put_parameter(Name="secret", Value="hidden", Type="SecureString")
    refused("ValidationException", api.put_parameter, Name="long", Value="x" * 4097, Type="String")
    got = api.get_parameter(Name="/app/a")["Parameter"]
    assert got["Value"] == "second" and got["ARN"].endswith(":parameter/app/a"), got
    assert api.get_parameter(Name="/app/a:1")["Parameter"]["Value"] == "plain"
    assert api.get_parameter(Name=got["ARN"])["Parameter"]["Value"] == "second"
    assert api.get_parameter(Name="secret")["Parameter"]["Value"] != "hidden"
    many = api.get_parameters(Names=["/app/a", "secret", "none"], WithDecryption=True)
    assert {p["Name"]: p["Value"] for p in many["Parameters"]} == {"/app/a": "second", "secret": "hidden"}, many
    assert many["InvalidParameters"] == ["none"], many
    refused("ValidationException", api.get_parameters, Names=["p%d" % n for n in range(11)])
    found = pages(api.describe_parameters, "Parameters", "NextToken", "NextToken", MaxResults=1)
    assert [p["Name"] for p in found] == ["/app/a", "secret"], found
    named = [{"Key": "Name", "Option": "BeginsWith", "Values": ["/app"]}]
    assert len(api.describe_parameters(ParameterFilters=named)["Parameters"]) == 1
    assert len(api.get_parameters_by_path(Path="/app")["Parameters"]) == 1
    api.delete_parameter(Name="secret")


def sts_and_ecr(endpoint):
    api = endpoint.client("sts")
    assert api.get_caller_identity()["Account"] == "123456789012"
    role = "arn:aws:iam::123456789012:role/path/task"
    refused("ValidationError", api.assume_role, RoleArn=role, RoleSessionName="a b")
    refused("ValidationError", api.assume_role, RoleArn=role, RoleSessionName="ab", DurationSeconds=43201)
    given = api.assume_role(RoleArn=role, RoleSessionName="web", ExternalId="xyz")
    assert given["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/task/web", given
    keys = given["Credentials"]
    own = {"key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"], "token": keys["SessionToken"]}
    assert endpoint.client("sts", **own).get_caller_identity()["Arn"].endswith(":assumed-role/task/web")
    # The session's own signature is verified, with its token.
    endpoint.client("logs", **own).describe_log_groups()
    refused("UnrecognizedClientException", endpoint.client("logs", **{**own, "token": "x"}).describe_log_groups)
    refused("InvalidSignatureException", endpoint.client("logs", **{**own, "secret": "x"}).describe_log_groups)
    web = api.assume_role_with_web_identity(RoleArn=role, RoleSessionName="pod", WebIdentityToken="a.b.c")
    assert web["Credentials"]["AccessKeyId"].startswith("ASIA"), web
    query = "Action=GetCallerIdentity&Version=2011-06-15"
    try:
        urllib.request.urlopen(endpoint.url + "/?" + query, timeout=10)
        raise AssertionError("taken without a signature")
    except urllib.error.HTTPError as error:
        assert error.code == 403 and b"<Code>MissingAuthenticationToken</Code>" in error.read()
    data = endpoint.client("ecr").get_authorization_token()["authorizationData"][0]
    assert base64.b64decode(data["authorizationToken"]).startswith(b"AWS:"), data


def signatures(endpoint):
    refused("UnrecognizedClientException", endpoint.client("logs", key="AKIDOTHER").describe_log_groups)
    refused("InvalidSignatureException", endpoint.client("kinesis", secret="wrong").list_streams)
    refused("SignatureDoesNotMatch", endpoint.client("s3", secret="wrong").list_buckets)
    refused("InvalidAccessKeyId", endpoint.client("s3", key="AKIDOTHER").list_buckets)
    refused("InvalidClientTokenId", endpoint.client("sts", key="AKIDOTHER").get_caller_identity)
    refused("UnknownOperationException", endpoint.client("logs").describe_queries)
    refused("UnknownOperationException", endpoint.client("dynamodb").list_tables)
    request = urllib.request.Request(endpoint.url + "/", data=b"{}", headers={
        "X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"})
    try:
        urllib.request.urlopen(request, timeout=10)
        raise AssertionError("taken without a signature")
    except urllib.error.HTTPError as error:
        assert json.loads(error.read())["__type"] == "MissingAuthenticationTokenException"
        assert error.headers["x-amzn-RequestId"] and error.headers["x-amzn-ErrorType"]


def aws_cli(endpoint):
    assert "/app/web" in endpoint.cli("logs", "describe-log-groups")
    assert "first é" in endpoint.cli("logs", "get-log-events", "--log-group-name", "/app/web", "--log-stream-name", "one")
    error = endpoint.cli("logs", "create-log-group", "--log-group-name", "/app/web", check=False)
    assert "(ResourceAlreadyExistsException)" in error, error
    with tempfile.TemporaryDirectory(prefix="firelane-cloud-") as folder:
        path = os.path.join(folder, "file")
        with open(path, "wb") as file:
            file.write(os.urandom(9 * MIB))
        endpoint.cli("s3", "cp", path, "s3://archive/cli/file")
        endpoint.cli("s3", "cp", "s3://archive/cli/file", path + ".back")
        assert open(path, "rb").read() == open(path + ".back", "rb").read()
    assert "cli/" in endpoint.cli("s3", "ls", "s3://archive/")
    endpoint.cli("s3", "rm", "--recursive", "s3://archive/cli/")
    assert '"v"' not in endpoint.cli("sts", "get-caller-identity")
    endpoint.cli("kinesis", "put-record", "--stream-name", "many", "--partition-key", "p", "--data", "eA==")
    assert "second" in endpoint.cli("ssm", "get-parameter", "--name", "/app/a")


def faults():
    """Throttling, partial failures, 5xx, expired tokens, lost answers and hangs, as a client meets them."""
    with Endpoint("--missing", "create", "--throttle", "logs=100%", "--error", "s3=100%,ssm=100%", "--partial", "30%",
                  "--expired", "sts=100%", "--hang", "secretsmanager=100%", "--lost", "ecr=100%", "--seed", "7") as endpoint:
        refused("ThrottlingException", endpoint.client("logs").describe_log_groups)
        refused("InternalError", endpoint.client("s3").list_buckets)
        refused("InternalServerError", endpoint.client("ssm").describe_parameters)
        refused("ExpiredToken", endpoint.client("sts").get_caller_identity)
        for service, call, kinds in (("secretsmanager", "list_secrets", (ReadTimeoutError,)),
                                     ("ecr", "get_authorization_token", (ConnectionClosedError, ConnectionError))):
            try:
                getattr(endpoint.client(service, timeout=1), call)()
                raise AssertionError("%s answered" % service)
            except kinds:
                pass
        # Sent again, only what failed: each record arrives once.
        api = endpoint.client("kinesis")
        left = [{"Data": b"%d" % n, "PartitionKey": "k%d" % n} for n in range(300)]
        failed = 0
        while left:
            answer = api.put_records(StreamName="faulty", Records=left)
            left = [record for record, fate in zip(left, answer["Records"]) if "ErrorCode" in fate]
            assert answer["FailedRecordCount"] == len(left)
            failed += len(left)
        lines = endpoint.logs("--kinesis-stream", "faulty")
        assert sorted(int(line.rsplit(" ", 1)[1]) for line in lines) == list(range(300))
        answer = endpoint.client("firehose").put_record_batch(DeliveryStreamName="f", Records=[{"Data": b"x"}] * 100)
        assert 10 < answer["FailedPutCount"] < 60, answer
        with urllib.request.urlopen(endpoint.url + "/_firelane/faults", timeout=10) as response:
            injected = {(each["service"], each["fault"]): each["count"] for each in json.load(response)["injected"]}
        assert injected["kinesis", "partial"] == failed and injected["logs", "throttle"] == 1, injected
        with urllib.request.urlopen(endpoint.url + "/_firelane/created", timeout=10) as response:
            assert {each["name"] for each in json.load(response)} == {"faulty", "f"}
        # Replaced while it runs.
        request = urllib.request.Request(endpoint.url + "/_firelane/faults", data=b'{"faults":[]}', method="PUT",
                                         headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
        endpoint.client("logs").describe_log_groups()
    assert "kinesis partial %d" % failed in endpoint.said, endpoint.said


def restart():
    """What was put is there in the next run, and for `firelane logs` without one."""
    with tempfile.TemporaryDirectory(prefix="firelane-cloud-") as folder:
        with Endpoint("--data", folder, "--missing", "create") as endpoint:
            api = endpoint.client("logs")
            for n in range(3):
                api.put_log_events(logGroupName="g", logStreamName="s%d" % n, logEvents=events("kept %d" % n))
            endpoint.client("s3").put_object(Bucket="kept", Key="k", Body=b"object\n")
            endpoint.client("kinesis").put_record(StreamName="k", Data=b"record", PartitionKey="p")
            endpoint.client("ssm").put_parameter(Name="p", Value="v", Type="String")
            endpoint.client("secretsmanager").create_secret(Name="s", SecretString="v")
        assert len(logs("--data", folder, "--group", "g")) == 3
        assert logs("--data", folder, "--bucket", "kept")[0].endswith(" k object")
        assert any("log group" in line and "g:s0" in line for line in logs("--data", folder))
        with Endpoint("--data", folder) as endpoint:
            found = endpoint.client("logs").filter_log_events(logGroupName="g")["events"]
            assert sorted(event["message"] for event in found) == ["kept 0", "kept 1", "kept 2"], found
            assert endpoint.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"object\n"
            assert endpoint.client("secretsmanager").get_secret_value(SecretId="s")["SecretString"] == "v"
            assert endpoint.client("ssm").get_parameter(Name="p")["Parameter"]["Value"] == "v"


def killed():
    """What was answered half a second before a kill is there, and new records are taken."""
    with tempfile.TemporaryDirectory(prefix="firelane-cloud-") as folder:
        endpoint = Endpoint("--data", folder, "--missing", "create")
        api = endpoint.client("logs")
        api.put_log_events(logGroupName="g", logStreamName="s", logEvents=events(*["event %d" % n for n in range(500)]))
        endpoint.client("s3").put_object(Bucket="kept", Key="k", Body=b"object")
        time.sleep(0.6)
        endpoint.process.kill()
        endpoint.process.communicate()
        with Endpoint("--data", folder) as endpoint:
            api = endpoint.client("logs")
            api.put_log_events(logGroupName="g", logStreamName="s", logEvents=events("behind", at=now() + 1000))
            found = api.get_log_events(logGroupName="g", logStreamName="s", startFromHead=True)["events"]
            assert [event["message"] for event in found] == ["event %d" % n for n in range(500)] + ["behind"]
            assert endpoint.client("s3").get_object(Bucket="kept", Key="k")["Body"].read() == b"object"


def followed():
    """`firelane logs --follow` prints what comes, also of streams that were not there."""
    with Endpoint("--missing", "create") as endpoint:
        api = endpoint.client("logs")
        api.put_log_events(logGroupName="g", logStreamName="one", logEvents=events("first"))
        reader = subprocess.Popen([BINARY, "logs", "--endpoint", endpoint.url, "--group", "g", "--follow", "--grep", "s"],
                                  stdout=subprocess.PIPE, text=True)
        assert reader.stdout.readline().endswith(" one first\n")
        api.put_log_events(logGroupName="g", logStreamName="two", logEvents=events("other", "second"))
        assert reader.stdout.readline().endswith(" two second\n")
        reader.kill()
        reader.communicate()


CASES = [cloudwatch_logs, firehose, kinesis, s3, secrets_and_parameters, sts_and_ecr, signatures, aws_cli]

with Endpoint(environment={"FIRELANE_AWS_CREDENTIALS": "%s:%s" % (KEY, SECRET)}) as running:
    for case in CASES:
        begin = time.monotonic()
        case(running)
        print("  %s: %.1f s" % (case.__name__, time.monotonic() - begin))
for case in (faults, restart, killed, followed):
    begin = time.monotonic()
    case()
    print("  %s: %.1f s" % (case.__name__, time.monotonic() - begin))
