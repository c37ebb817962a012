//! The pooled client: what it writes, what it keeps, what it says when the peer fails.

use std::time::Duration;

use firelane_net::http::Phase;
use firelane_net::{HttpClient, HttpError, NetConfig};

use crate::peer::Step::{Hang, Read, ReadSome, Write};
use crate::peer::{impatient, play, post};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_looks_like_fluent_bits() {
    let (endpoint, peer) = play(vec![vec![Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint.clone(), None, &NetConfig::default(), None).unwrap();
    let response = client.send(post("{}")).await.unwrap();
    assert_eq!(
        (response.status, &response.body[..], response.is_cut),
        (200, &b"ok"[..], false)
    );
    let want = format!(
        "POST /in?x=1 HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: Fluent-Bit\r\nConnection: keep-alive\r\n\
         Content-Length: 2\r\n\r\n{{}}"
    );
    assert_eq!(peer.await.unwrap(), [want]);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (endpoint, peer) = play(vec![vec![Read, Write(OK), Read, Write(OK), Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), None).unwrap();
    for _ in 0..3 {
        assert_eq!(client.send(post("x")).await.unwrap().status, 200);
    }
    assert_eq!(peer.await.unwrap()[0].matches("POST ").count(), 3);
}

#[tokio::test]
async fn a_connection_is_recycled_or_never_kept() {
    let recycle = NetConfig {
        keepalive_max_recycle: 2,
        ..NetConfig::default()
    };
    let (endpoint, peer) = play(vec![
        vec![Read, Write(OK), Read, Write(OK)],
        vec![Read, Write(OK)],
    ])
    .await;
    let client = HttpClient::new(endpoint, None, &recycle, None).unwrap();
    for _ in 0..3 {
        client.send(post("x")).await.unwrap();
    }
    assert_eq!(peer.await.unwrap().len(), 2);

    let never = NetConfig {
        keepalive: false.into(),
        ..NetConfig::default()
    };
    let (endpoint, peer) = play(vec![vec![Read, Write(OK)], vec![Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint, None, &never, None).unwrap();
    client.send(post("x")).await.unwrap();
    client.send(post("x")).await.unwrap();
    assert!(
        peer.await
            .unwrap()
            .iter()
            .all(|seen| seen.contains("Connection: close"))
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    // Guarantees: the peer sees the end although no further request comes.
    let net = NetConfig {
        keepalive_idle_timeout: Duration::from_millis(30).into(),
        ..NetConfig::default()
    };
    let (endpoint, peer) = play(vec![vec![Read, Write(OK), Hang]]).await;
    let client = HttpClient::new(endpoint, None, &net, None).unwrap();
    client.send(post("x")).await.unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(10), peer)
        .await
        .expect("closed")
        .unwrap();
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_replaced() {
    // Scenario: the peer answers and closes without saying so. Guarantees: the next request succeeds.
    let (endpoint, peer) = play(vec![vec![Read, Write(OK)], vec![Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), None).unwrap();
    client.send(post("x")).await.unwrap();
    tokio::task::yield_now().await;
    // A body far larger than the socket's buffers, so that even the race cannot get it out whole.
    let body = vec![b'x'; 16 << 20];
    assert_eq!(client.send(post(body)).await.unwrap().status, 200);
    assert_eq!(peer.await.unwrap().len(), 2);
}

#[tokio::test]
async fn large_bodies_arrive_whole() {
    let (endpoint, peer) = play(vec![vec![Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), None).unwrap();
    let body = vec![b'y'; 4 << 20];
    assert_eq!(client.send(post(body)).await.unwrap().status, 200);
    let seen = peer.await.unwrap().remove(0);
    assert_eq!(seen.bytes().filter(|byte| *byte == b'y').count(), 4 << 20);
}

#[tokio::test]
async fn long_and_chunked_responses_are_cut_and_drained() {
    let chunked = "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    let (endpoint, peer) = play(vec![vec![Read, Write(chunked), Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), None)
        .unwrap()
        .response_limit(5);
    let response = client.send(post("x")).await.unwrap();
    assert_eq!(
        (response.status, &response.body[..], response.is_cut),
        (400, &b"abcde"[..], true)
    );
    assert_eq!(client.send(post("x")).await.unwrap().status, 200);
    assert_eq!(peer.await.unwrap().len(), 1, "the connection was kept");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_ambiguous() {
    let (endpoint, _peer) = play(vec![vec![Read]]).await;
    let error = impatient(endpoint).send(post("x")).await.unwrap_err();
    assert!(matches!(error, HttpError::Lost { .. }), "{error:?}");
    assert!(error.is_ambiguous());

    let (endpoint, _peer) = play(vec![vec![Read, Hang]]).await;
    let error = impatient(endpoint).send(post("x")).await.unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::Timeout {
                phase: Phase::Response,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_ambiguous());
}

#[tokio::test]
async fn a_request_that_did_not_get_out_is_not_ambiguous() {
    let body = || vec![b'x'; 32 << 20];
    let (endpoint, _peer) = play(vec![vec![ReadSome(1000)]]).await;
    let error = impatient(endpoint).send(post(body())).await.unwrap_err();
    assert!(matches!(error, HttpError::Unsent { .. }), "{error:?}");
    assert!(!error.is_ambiguous());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = firelane_net::Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port());
    let error = impatient(endpoint).send(post(body())).await.unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::Timeout {
                phase: Phase::Write,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.is_ambiguous());
}

#[tokio::test]
async fn hostile_answers_are_errors() {
    for (answer, what) in [
        ("SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "bad length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
            "closed within the body",
        ),
        ("HTTP/1.1 200 OK\r\nX: ", "closed within the header"),
    ] {
        let (endpoint, _peer) = play(vec![vec![Read, Write(answer)]]).await;
        let error = impatient(endpoint).send(post("x")).await.unwrap_err();
        assert!(error.is_ambiguous(), "{what}: {error:?}");
    }
    let huge = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000)).into_boxed_str());
    let (endpoint, _peer) = play(vec![vec![Read, Write(huge), Hang]]).await;
    let error = impatient(endpoint).send(post("x")).await.unwrap_err();
    assert!(matches!(error, HttpError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_that_stalls_ends_at_the_deadline() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let (endpoint, _peer) = play(vec![vec![Read, Write(answer), Hang]]).await;
    let error = impatient(endpoint).send(post("x")).await.unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::Timeout {
                phase: Phase::Body,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn connections_are_limited() {
    // Scenario: one connection allowed, two requests at once. Guarantees: the second waits and reuses the
    // first's.
    let net = NetConfig {
        max_worker_connections: 1,
        ..NetConfig::default()
    };
    let (endpoint, peer) = play(vec![vec![Read, Write(OK), Read, Write(OK)]]).await;
    let client = HttpClient::new(endpoint, None, &net, None).unwrap();
    let (first, second) = tokio::join!(client.send(post("1")), client.send(post("2")));
    assert_eq!((first.unwrap().status, second.unwrap().status), (200, 200));
    assert_eq!(peer.await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_bad_target_is_our_own_fault() {
    let (endpoint, _peer) = play(vec![vec![Hang]]).await;
    let mut request = post("x");
    request.target = "/a b".to_owned();
    let error = impatient(endpoint).send(request).await.unwrap_err();
    assert!(matches!(error, HttpError::Target { .. }), "{error:?}");
}

#[tokio::test]
async fn an_early_refusal_is_an_answer() {
    // Scenario: 413 after the first bytes of a large body. Guarantees: the status is seen, the connection is
    // not kept.
    let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    let (endpoint, peer) = play(vec![
        vec![ReadSome(1000), Write(refusal), Hang],
        vec![Read, Write(OK)],
    ])
    .await;
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), None).unwrap();
    assert_eq!(client.send(post(vec![b'x'; 32 << 20])).await.unwrap().status, 413);
    assert_eq!(client.send(post("x")).await.unwrap().status, 200);
    assert_eq!(peer.await.unwrap().len(), 2);
}
