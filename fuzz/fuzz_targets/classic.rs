#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_conf::fuzz_classic(data));
