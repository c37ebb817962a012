#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_ecs::source::fuzz_source(data));
