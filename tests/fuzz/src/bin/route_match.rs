//! The target `route_match`, as a program: under libFuzzer, or over the files that are named. Not here: what is checked.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::route_match::check(input));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    fuzz::replay(fuzz::route_match::check)
}
