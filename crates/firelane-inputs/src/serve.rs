//! What the inputs with a listening socket share: binding, accepting, draining, reading.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use firelane_conf::units::Located;
use firelane_conf::{Class, Diagnostic, Span};
use firelane_core::{BuildCx, InputCx, InputError, Phase};
use firelane_net::limits::connections_max;
use firelane_net::listen::{BindError, HandshakeError, Incoming, ListenAddr, Listener, Peer};
use firelane_net::{NetConfig, ServerTls, Side, Slots, Stream, TlsConfig};
use firelane_parse::Parser;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

/// First and largest size of a connection's read buffer, in bytes: an idle one stays small.
const BUFFER_MIN: usize = 8 * 1024;
const BUFFER_MAX: usize = 128 * 1024;

/// A listening socket, configured and perhaps bound.
pub(crate) struct Server {
    address: ListenAddr,
    tls: Option<ServerTls>,
    net: NetConfig,
    listener: Option<Listener>,
}

impl Server {
    /// Reads `tls.*` and `net.*`; `address` is where it will listen.
    pub(crate) fn read(cx: &BuildCx<'_>, address: ListenAddr) -> Result<Self, Vec<Diagnostic>> {
        let mut net = cx.network.clone();
        let tls = net.take_where(|key| key == "tls" || key.starts_with("tls."));
        let (tls, net) = (
            tls.parse::<TlsConfig>(cx.instance),
            net.parse::<NetConfig>(cx.instance),
        );
        let (tls, net) = match (tls, net) {
            (Ok(tls), Ok(net)) => (tls, net),
            (tls, net) => {
                let errors = [tls.err(), net.err()];
                return Err(errors.into_iter().flatten().flatten().collect());
            }
        };
        let given = |key: &str| cx.network.get(key).is_some();
        let unused = net.unsupported(Side::Server, given);
        for (key, reason) in unused.into_iter().chain(tls.unsupported(Side::Server, given)) {
            warn(cx, key, reason);
        }
        let server = tls.is_on().then(|| ServerTls::build(&tls)).transpose();
        let server = server.map_err(|error| vec![refuse(cx, "tls", &error.to_string())])?;
        Ok(Self {
            address,
            tls: server,
            net,
            listener: None,
        })
    }

    /// Longest time before a client has proved who it is.
    pub(crate) fn handshake_limit(&self) -> Duration {
        self.net.accept_limit()
    }

    /// Binds the socket.
    pub(crate) async fn open(&mut self) -> Result<(), InputError> {
        let bound = Listener::bind(self.address.clone(), self.tls.clone(), &self.net).await;
        self.listener =
            Some(bound.map_err(|error: BindError| InputError::new(error.to_string()).help(error.help()))?);
        Ok(())
    }

    /// The bound socket, binding it now if `open` was not called.
    pub(crate) async fn take(mut self) -> Result<Listener, InputError> {
        if self.listener.is_none() {
            self.open().await?;
        }
        self.listener
            .ok_or_else(|| InputError::new("the socket is not bound"))
    }

    /// Accepts connections and runs `serve` on each in a task of its own, until the drain. Connections that
    /// are already waiting then are still accepted.
    pub(crate) async fn run<F, T>(self, cx: InputCx, serve: F) -> Result<(), InputError>
    where
        F: Fn(Stream, Peer, InputCx) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut listener = self.take().await?;
        let slots = Slots::new(connections_max());
        let serve = Arc::new(serve);
        let mut tasks = JoinSet::new();
        let mut drained = pin!(async {
            cx.stop.draining().await;
            tokio::time::sleep(cx.quiet).await;
        });
        loop {
            let slot = tokio::select! {
                slot = slots.take(listener.address()) => slot,
                () = &mut drained => break,
            };
            let incoming = tokio::select! {
                biased;
                incoming = listener.accept() => incoming,
                () = &mut drained => break,
                // Ended tasks are taken, so that the set does not grow.
                Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            };
            tasks.spawn(attend(incoming, slot, serve.clone(), cx.clone()));
        }
        // New clients are refused from here on. Those that wait have connected, and perhaps written.
        let refused = listener.refuse_new();
        let last = tokio::time::Instant::now() + LAST_CALL;
        loop {
            let waiting = async { (slots.take(listener.address()).await, listener.accept().await) };
            let (slot, incoming) = tokio::select! {
                biased;
                () = cx.stop.over() => break,
                () = tokio::time::sleep_until(last), if !refused => break,
                waiting = waiting => waiting,
                () = tokio::time::sleep(NOBODY) => break,
            };
            tasks.spawn(attend(incoming, slot, serve.clone(), cx.clone()));
        }
        // Those that are connected end by themselves, or at the end of the drain.
        drop(listener);
        tokio::select! {
            () = async { while tasks.join_next().await.is_some() {} } => {}
            () = cx.stop.over() => {}
        }
        Ok(())
    }
}

/// Longest time in which clients are accepted that wait when the drain has begun, where new ones cannot be
/// refused meanwhile.
const LAST_CALL: Duration = Duration::from_millis(500);
/// Nobody waits who was not accepted within that time.
const NOBODY: Duration = Duration::from_millis(10);

/// Serves one connection.
async fn attend<F, T, S>(incoming: Incoming, slot: S, serve: Arc<F>, cx: InputCx)
where
    F: Fn(Stream, Peer, InputCx) -> T,
    T: Future<Output = ()>,
{
    cx.counts.connections.add(1);
    match incoming.establish().await {
        Ok((stream, peer)) => serve(stream, peer, cx).await,
        Err(HandshakeError::Silent { .. }) => {}
        Err(error) => {
            cx.counts.faults.add(1);
            tracing::warn!(target: "input", instance = %cx.name, %error, "connection refused");
        }
    }
    drop(slot);
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Bytes.
    Bytes,
    /// The peer has hung up.
    End,
    /// The drain has begun and the peer is silent, or everything ends.
    Stop,
}

/// Reads into `buffer`, which grows with what comes.
///
/// # Cancel safety
/// No byte is lost.
pub(crate) async fn read(stream: &mut Stream, buffer: &mut BytesMut, cx: &InputCx) -> io::Result<Got> {
    let spare = buffer.capacity() - buffer.len();
    if spare < BUFFER_MIN / 2 {
        // A buffer that came near its end was too small.
        let size = (buffer.capacity() * 2).clamp(BUFFER_MIN, BUFFER_MAX);
        buffer.reserve(size.max(BUFFER_MIN));
    }
    let stop = async {
        if cx.stop.phase() == Phase::Running {
            cx.stop.draining().await;
        }
        tokio::select! {
            () = tokio::time::sleep(cx.quiet) => {}
            () = cx.stop.over() => {}
        }
    };
    tokio::select! {
        biased;
        read = stream.read_buf(buffer) => Ok(if read? == 0 { Got::End } else { Got::Bytes }),
        () = stop => Ok(Got::Stop),
    }
}

/// An error at the property `key`, or at the section where it was not written.
pub(crate) fn refuse(cx: &BuildCx<'_>, key: &str, reason: &str) -> Diagnostic {
    let span = cx
        .section
        .get(key)
        .map_or(cx.section.span, |entry| entry.value.span);
    refuse_at(cx, span, key, reason)
}

/// An error of the property `key` at a place: one of several values.
pub(crate) fn refuse_at(cx: &BuildCx<'_>, span: Span, key: &str, reason: &str) -> Diagnostic {
    Diagnostic::error("FL0311", Class::Init, format!("`{key}`: {reason}"))
        .at(span)
        .plugin(cx.instance)
}

/// A warning at the property `key`: accepted, but not as the user may think.
pub(crate) fn warn(cx: &BuildCx<'_>, key: &str, reason: &str) {
    let span = cx
        .section
        .get(key)
        .map_or(cx.section.span, |entry| entry.key.span);
    cx.warnings.push(
        Diagnostic::warning("FL0406", format!("`{key}`: {reason}"))
            .at(span)
            .plugin(cx.instance),
    );
}

/// Warns of properties that were given and have no effect.
pub(crate) fn without_effect(cx: &BuildCx<'_>, keys: &[(&str, &str)]) {
    for (key, reason) in keys {
        if cx.section.get(key).is_some() {
            warn(cx, key, &format!("has no effect: {reason}"));
        }
    }
}

/// The parser of a name.
pub(crate) fn parser(cx: &BuildCx<'_>, name: &Located<String>) -> Result<Arc<dyn Parser>, Diagnostic> {
    cx.parsers.get(name.value.trim()).ok_or_else(|| {
        let text = format!("requested parser '{}' not found", name.value);
        let error = Diagnostic::error("FL0312", Class::Init, text)
            .at(name.span)
            .plugin(cx.instance);
        let known = cx.parsers.names();
        match firelane_conf::suggest::nearest(name.value.trim(), known) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("define it in a file that `parsers_file` of `[SERVICE]` names"),
        }
    })
}
