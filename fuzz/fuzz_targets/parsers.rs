#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_parse::fuzz::fuzz_parsers(data));
