#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_buffer::store::fuzz_segment(data));
