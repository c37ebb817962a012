#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_cloud::fuzz::fuzz_requests(data));
