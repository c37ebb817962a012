//! A process without a free file descriptor. Alone in its binary: the limit is the whole process's.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::time::{Duration, Instant};

use firelane_net::{ListenAddr, Listener, NetConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

/// Processor time of this process, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    number(12).unwrap_or(0) + number(13).unwrap_or(0)
}

/// Scenario: a client connects while no file can be opened. Guarantees: the listener waits without spinning,
/// and takes the client once there is room.
#[tokio::test]
async fn a_shortage_of_descriptors_is_waited_out() {
    let address = ListenAddr::tcp("127.0.0.1", 0);
    let listener = Listener::bind(address, None, &NetConfig::default())
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(64),
        ..before
    };
    let mut hogs = Vec::new();
    setrlimit(Resource::Nofile, limit).unwrap();
    while let Ok(file) = File::open("/dev/null") {
        hogs.push(file);
    }
    let spare = hogs.pop(); // for the reading of the time
    drop(spare);
    let used = ticks();
    hogs.push(File::open("/dev/null").unwrap());
    let begun = Instant::now();
    let early = tokio::time::timeout(Duration::from_millis(700), listener.accept()).await;
    assert!(early.is_err(), "there was no room");
    hogs.clear();
    let used = ticks() - used;
    assert!(used < 20, "{used} ticks in {:?}: it spins", begun.elapsed());
    tokio::time::timeout(Duration::from_secs(10), listener.accept())
        .await
        .expect("it goes on");
    setrlimit(Resource::Nofile, before).unwrap();
}
