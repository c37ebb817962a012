#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_forward::fuzz_handshake(data));
