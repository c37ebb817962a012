//! Seeds and regressions of the fuzz target `segment`, replayed without cargo-fuzz.

use std::fs;
use std::path::Path;

#[test]
fn segment() {
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../fuzz")
            .join(kind)
            .join("segment");
        for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = file.unwrap().path();
            let data = fs::read(&path).unwrap();
            let result = std::panic::catch_unwind(|| firelane_buffer::store::fuzz_segment(&data));
            assert!(result.is_ok(), "{} fails", path.display());
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} inputs");
}
