//! Many tags, a small limit of memory, a lot to send: nothing stalls, memory and disk stay bounded.

use super::*;

/// The size of the files below a folder.
fn disk(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        bytes += match entry.metadata() {
            Ok(kind) if kind.is_dir() => disk(&path),
            Ok(kind) => kind.len(),
            Err(_) => 0,
        };
    }
    bytes
}

/// What a client does to a router in the test below.
struct Load {
    seconds: u64,
    /// Bytes a second.
    rate: f64,
    tags: Vec<String>,
    /// Records sent, by tag.
    counts: Vec<u64>,
    /// Records of the quiet tag: one a minute.
    quiet: u64,
    sent: usize,
    /// The longest wait of a write.
    worst: Duration,
    disk_max: u64,
}

impl Load {
    fn new(seconds: u64, rate: f64) -> Self {
        let tags: Vec<_> = (0..19).map(|n| format!("tag-{n:02}")).collect();
        Self {
            seconds,
            rate,
            counts: vec![0; tags.len()],
            tags,
            quiet: 0,
            sent: 0,
            worst: Duration::ZERO,
            disk_max: 0,
        }
    }

    /// The next records: some of each tag.
    fn next(&mut self, elapsed: Duration) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tag, count) in self.tags.iter().zip(&mut self.counts) {
            for _ in 0..5 {
                bytes.extend(message(tag, numbered(&format!("{tag}-{count:07}"), PAD)));
                *count += 1;
            }
        }
        if elapsed.as_secs() / 60 >= self.quiet {
            bytes.extend(message(
                "quiet",
                numbered(&format!("quiet-{:07}", self.quiet), PAD),
            ));
            self.quiet += 1;
        }
        bytes
    }

    #[track_caller]
    fn run(&mut self, router: &Router) {
        let mut client = Forward::unix(&router.path("in.sock")).unwrap();
        let (start, mut looked) = (Instant::now(), Instant::now());
        while start.elapsed() < Duration::from_secs(self.seconds) {
            let bytes = self.next(start.elapsed());
            let before = Instant::now();
            let done = client.send(&bytes, PATIENCE);
            done.unwrap_or_else(|error| panic!("disconnected: {error}\n{}", router.log()));
            self.worst = self.worst.max(before.elapsed());
            self.sent += bytes.len();
            if looked.elapsed() > Duration::from_millis(200) {
                self.disk_max = self.disk_max.max(disk(&router.path("spill")));
                looked = Instant::now();
            }
            let due = Duration::from_secs_f64(self.sent as f64 / self.rate);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }

    fn all(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.quiet
    }

    fn sequences(&self) -> impl Iterator<Item = String> {
        let busy = self.tags.iter().zip(&self.counts);
        let busy = busy.flat_map(|(tag, count)| numbers(tag, *count));
        busy.chain(numbers("quiet", self.quiet))
    }
}

/// Scenario: 20 tags, one of them quiet, with objects of 100 MB that are finished after 10 minutes, more
/// records than the 25 MB that memory may hold, and an S3 that takes 50 ms for each request. Short form: a
/// fifth of memory and rate, for some seconds; `FIRELANE_SOAK=1`: 20 MB/s for three minutes.
/// Guarantees: no write of a client waits for more than a second, memory and disk are bounded, every record
/// is there once.
#[test]
fn many_tags_under_pressure_never_stall() {
    let (mut load, limit) = if soak() {
        (Load::new(180, 20e6), 25)
    } else {
        (Load::new(6, 4e6), 5)
    };
    let s3 = S3::start();
    s3.keep_no_bodies();
    s3.script(|_, _| Fault::After(Duration::from_millis(50)));
    let spill = "    firelane.spill_path {dir}/spill\n";
    let input = input(&format!("    Mem_Buf_Limit {limit}MB\n"));
    let more = "    total_file_size 100M\n    upload_timeout 10m\n";
    let conf = format!("[SERVICE]\n{SERVICE}{spill}{input}{}", output(&s3, more));
    let router = builder().start(&conf);
    load.run(&router);
    let (_, peak) = router.memory();
    let ended = router.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.ledgers().all_delivered("s3.0", load.all());
    s3.assert_once(load.sequences());
    let objects = s3.objects();
    let told = format!(
        "{} records, worst write {:?}, {} objects, {} MB at the peak, {} MB on disk",
        load.all(),
        load.worst,
        objects.len(),
        peak / 1_000_000,
        load.disk_max / 1_000_000
    );
    eprintln!("{told}");
    assert!(load.worst < Duration::from_secs(1), "{told}");
    assert!(peak < (limit * 3 + 64) * 1_000_000, "{told}");
    assert!(load.disk_max < 300_000_000, "{told}");
    let quiet = objects.keys().filter(|path| path.contains("/quiet/")).count();
    assert!(
        quiet as u64 <= load.quiet + 1,
        "the quiet tag has {quiet} objects: {told}"
    );
    assert_eq!((s3.unfinished(), s3.replaced()), (vec![], vec![]));
}
