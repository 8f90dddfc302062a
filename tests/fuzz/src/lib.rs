//! Fuzz targets: each takes any bytes and panics where the product contradicts its oracle.
//!
//! One module a target, of the name of its program in `bin`; `pieces` is how all of them cut an input. `../run.sh` runs
//! them. Not here: inputs (`../corpus`), and what one example shows as well (the tests of the product).

pub mod chunked_body;
pub mod configuration;
mod pieces;
pub mod request_head;
pub mod response_head;
pub mod route_match;

/// What a target does with an input: it returns, or there is a finding.
pub type Check = fn(&[u8]);

/// Checks each file that the command line names: a finding again, without libFuzzer.
pub fn replay(check: Check) -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        check(&std::fs::read(&path)?);
        println!("{}: nothing found", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn no_input_of_the_corpus_finds_anything() {
        let targets: [(&str, crate::Check); 5] = [
            ("chunked_body", crate::chunked_body::check),
            ("configuration", crate::configuration::check),
            ("request_head", crate::request_head::check),
            ("response_head", crate::response_head::check),
            ("route_match", crate::route_match::check),
        ];
        for (name, check) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let mut files = 0;
            for entry in std::fs::read_dir(folder).expect("a corpus") {
                check(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
                files += 1;
            }
            assert!(files > 0, "{name} has no corpus");
        }
    }
}
