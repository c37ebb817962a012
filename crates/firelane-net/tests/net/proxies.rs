//! Proxies: absolute targets for plain HTTP, tunnels for TLS.

use firelane_net::{
    ClientTls, ConnectError, Connector, Endpoint, HttpClient, ListenAddr, Listener, NetConfig, Proxy,
    ServerTls,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::certs::Certs;
use crate::peer::Step::{Read, Write};
use crate::peer::{play, post, request};

fn proxy(endpoint: &Endpoint) -> Option<Proxy> {
    Some(Proxy::parse("proxy", &format!("http://me:pw@{endpoint}")).unwrap())
}

#[tokio::test]
async fn plain_requests_carry_the_whole_address() {
    let answer = "HTTP/1.1 204 No Content\r\n\r\n";
    let (at, peer) = play(vec![vec![Read, Write(answer)]]).await;
    let endpoint = Endpoint::tcp("logs.example.com", 80);
    let client = HttpClient::new(endpoint, None, &NetConfig::default(), proxy(&at)).unwrap();
    assert_eq!(client.send(post("x")).await.unwrap().status, 204);
    let seen = peer.await.unwrap().remove(0);
    assert!(
        seen.starts_with("POST http://logs.example.com:80/in?x=1 HTTP/1.1\r\nHost: logs.example.com\r\n"),
        "{seen}"
    );
    assert!(
        seen.contains("\r\nProxy-Authorization: Basic bWU6cHc=\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let certs = Certs::new(&["logs.example.com"]);
    let net = NetConfig::default();
    let tls = ServerTls::build(&certs.server()).unwrap();
    let listener = Listener::bind(ListenAddr::tcp("127.0.0.1", 0), Some(tls), &net)
        .await
        .unwrap();
    let target = listener.local_addr().unwrap();
    let middle = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Endpoint::tcp("127.0.0.1", middle.local_addr().unwrap().port());
    let relay = tokio::spawn(async move {
        let (mut client, _) = middle.accept().await.unwrap();
        let asked = String::from_utf8(request(&mut client).await).unwrap();
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await
            .unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        asked
    });
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.establish().await.unwrap();
        let seen = request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        stream.flush().await.unwrap();
        String::from_utf8(seen).unwrap()
    });
    let tls = ClientTls::build(&certs.client()).unwrap();
    let endpoint = Endpoint::tcp("logs.example.com", 443);
    let client = HttpClient::new(endpoint, Some(tls), &net, proxy(&at)).unwrap();
    assert_eq!(client.send(post("x")).await.unwrap().status, 200);
    drop(client);
    let inner = serve.await.unwrap();
    assert!(
        inner.starts_with("POST /in?x=1 HTTP/1.1\r\nHost: logs.example.com\r\n"),
        "{inner}"
    );
    let asked = relay.await.unwrap();
    assert!(
        asked.starts_with("CONNECT logs.example.com:443 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("\r\nProxy-Authorization: Basic bWU6cHc=\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_refused_tunnel_is_named() {
    let (at, _peer) = play(vec![vec![Read, Write("HTTP/1.1 407 Auth\r\n\r\n")]]).await;
    let tls: firelane_net::TlsConfig = firelane_net::TlsConfig {
        verify: false.into(),
        ..Default::default()
    };
    let tls = ClientTls::build(&tls).unwrap();
    let net = NetConfig::default();
    let connector = Connector::new(Endpoint::tcp("logs.example.com", 443), Some(tls), &net).unwrap();
    let error = connector.with_proxy(proxy(&at)).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Proxy { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("proxy {at} opens no tunnel to logs.example.com:443: it answered 407")
    );
}
