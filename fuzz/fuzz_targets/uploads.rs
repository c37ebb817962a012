#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_outputs::fuzz::fuzz_uploads(data));
