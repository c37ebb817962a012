#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_record::fuzz::fuzz_msgpack(data));
