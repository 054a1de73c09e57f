#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    haul_fuzz::pure::flow_receiver::check(data);
});
