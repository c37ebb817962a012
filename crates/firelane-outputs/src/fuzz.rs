//! Entries for the fuzz targets: each asserts invariants and panics only on a bug.

use std::sync::OnceLock;

use bytes::Bytes;
use firelane_core::{HttpRequest, HttpResponse, Judgement};
use firelane_net::aws::{AwsClient, AwsSettings, Failure, Service};
use firelane_net::{ClientTls, HeaderMap, HeaderName, HeaderValue, NetConfig, Response, TlsConfig};
use firelane_record::set::RecordSet;

use crate::s3::calls::Bucket;
use crate::stream_records::Target;
use crate::{aws, cloudwatch_logs, elasticsearch, s3, stream_records};

pub use crate::s3::fuzz_uploads;

/// Most records of the request that an answer is about.
const RECORDS_MAX: u32 = 600;

/// Answers of AWS and of Elasticsearch, of any bytes: none panics, nothing but a success says that records
/// were taken, and what is said of single records is said of those of the request, of each one thing.
///
/// ```text
/// STATUS RECORDS          status of the answer; records of the request, 2 to 600, else 4
/// name: value             headers, up to an empty line
///
/// body
/// ```
pub fn fuzz_answers(data: &[u8]) {
    let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let status = first.next().and_then(|word| word.parse().ok()).unwrap_or(200);
    let status = if (100..1000).contains(&status) {
        status
    } else {
        200
    };
    let records = first.next().and_then(|word| word.parse().ok()).unwrap_or(4);
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            headers.append(name, value);
        }
    }
    let response = Response {
        status,
        headers,
        body: Bytes::copy_from_slice(body),
        is_cut: false,
    };
    failures(&response);
    judges(&response, records.clamp(2, RECORDS_MAX));
    s3::calls::fuzz_answer(bucket(), &response);
    cloudwatch_logs::api::fuzz_answer(response);
}

fn failures(response: &Response) {
    let is_success = (200..300).contains(&response.status);
    let told = Failure::of(response);
    assert_eq!(told.is_none(), is_success);
    let text = String::from_utf8_lossy(&response.body);
    let (code, message) = text.split_once('\n').unwrap_or((&text, ""));
    let others = [
        Failure::within(&response.body),
        Some(Failure::of_record(code, message)),
    ];
    for failure in told.into_iter().chain(others.into_iter().flatten()) {
        assert!(!failure.to_string().is_empty());
        for service in [Service::S3, Service::LOGS, Service::KINESIS] {
            assert_ne!(aws::judgement(&service, &failure), Judgement::Accepted);
        }
    }
}

fn judges(response: &Response, records: u32) {
    let headers: Vec<_> = response
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let response = HttpResponse {
        status: response.status,
        headers: &headers,
        body: &response.body,
    };
    // Every third record is in another request.
    let mut covers = RecordSet::none();
    for index in (0..records + records / 2).filter(|index| index % 3 != 1) {
        covers.insert(index);
    }
    let mut request = HttpRequest {
        method: "POST",
        target: "/".to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        covers,
        units: Vec::new(),
    };
    check(
        &elasticsearch::judge::judge("host", &request, &response),
        &request,
        &response,
    );
    for target in [Target::Firehose, Target::Kinesis] {
        check(
            &stream_records::judge::judge(target, &request, &response),
            &request,
            &response,
        );
    }
    // The same records, two and more in an entry.
    let half = records / 2;
    let mut rest = RecordSet::none();
    for index in request.covers.runs(half, u32::MAX).filter(|run| run.2) {
        rest.insert_range(index.0..index.1);
    }
    let mut first = RecordSet::none();
    for index in request.covers.runs(0, half).filter(|run| run.2) {
        first.insert_range(index.0..index.1);
    }
    request.units = vec![first, rest];
    for target in [Target::Firehose, Target::Kinesis] {
        check(
            &stream_records::judge::judge(target, &request, &response),
            &request,
            &response,
        );
    }
}

fn check(judgement: &Judgement, request: &HttpRequest, response: &HttpResponse<'_>) {
    match judgement {
        Judgement::Accepted => assert!((200..300).contains(&response.status), "{}", response.status),
        Judgement::Partial { again, refused, why } => {
            assert!(!why.text.is_empty());
            assert!(!(again.is_none() && refused.is_none()), "nothing failed");
            for index in 0..RECORDS_MAX * 2 {
                let (again, refused) = (again.contains(index), refused.contains(index));
                assert!(!(again && refused), "record {index} is both");
                assert!(
                    request.covers.contains(index) || !(again || refused),
                    "record {index} is not in it"
                );
            }
        }
        Judgement::Throttled { why, .. } | Judgement::Unavailable(why) | Judgement::Refused(why) => {
            assert!(!why.text.is_empty());
        }
    }
}

/// One that is never asked anything.
fn bucket() -> &'static Bucket {
    static BUCKET: OnceLock<Bucket> = OnceLock::new();
    BUCKET.get_or_init(|| {
        let tls = ClientTls::build(&TlsConfig::default()).expect("the usual settings are good");
        Bucket {
            client: AwsClient::new(Service::S3, AwsSettings::default(), tls, NetConfig::default()),
            name: "bucket".to_owned(),
            instance: "fuzz".to_owned(),
            headers: Vec::new(),
        }
    })
}
