#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| firelane_ecs::cfn::fuzz_template(data));
