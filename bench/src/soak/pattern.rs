//! The bytes of a body, derived from the token of its request: no two bodies have a piece in common, nor one with itself.

use super::dice;

/// Bytes compared at a time.
const PIECE: usize = 4096;

/// An endless row of bytes, of which a body is the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Pattern(u64);

impl Pattern {
    /// What the client sends under this token.
    pub fn of_request(token: &str) -> Self {
        Self(dice::hash(token))
    }

    /// What the origin answers to it.
    pub fn of_answer(token: &str) -> Self {
        Self(!dice::hash(token))
    }

    /// The bytes from `at` on.
    pub fn fill(self, at: u64, out: &mut [u8]) {
        let mut word = at / 8;
        let mut skip = (at % 8) as usize;
        let mut rest = out;
        while !rest.is_empty() {
            let bytes = dice::word(self.0, word).to_le_bytes();
            let n = (8 - skip).min(rest.len());
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&bytes[skip..skip + n]);
            (rest, word, skip) = (later, word + 1, 0);
        }
    }

    /// That these are the bytes from `at` on; else where they are not.
    pub fn compare(self, at: u64, bytes: &[u8]) -> Result<(), String> {
        let mut expected = [0; PIECE];
        for (index, piece) in bytes.chunks(PIECE).enumerate() {
            let from = at + (index * PIECE) as u64;
            self.fill(from, &mut expected[..piece.len()]);
            if piece == &expected[..piece.len()] {
                continue;
            }
            let wrong = piece.iter().zip(&expected).position(|(is, should)| is != should).unwrap_or(0);
            let shown = &piece[wrong..piece.len().min(wrong + 48)];
            return Err(format!("wrong from byte {} on: \"{}\"", from + wrong as u64, shown.escape_ascii()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_the_part_of_the_whole() {
        let pattern = Pattern::of_request("t");
        let mut whole = [0; 100];
        pattern.fill(0, &mut whole);
        for from in 0..100 {
            let mut part = vec![0; 100 - from];
            pattern.fill(from as u64, &mut part);
            assert_eq!(part, whole[from..]);
        }
    }

    #[test]
    fn a_wrong_byte_is_found_wherever_it_is() {
        let pattern = Pattern::of_answer("t");
        let mut bytes = vec![0; 10_000];
        pattern.fill(77, &mut bytes);
        assert_eq!(pattern.compare(77, &bytes), Ok(()));
        assert!(Pattern::of_request("t").compare(77, &bytes).is_err());
        assert!(pattern.compare(78, &bytes).is_err());
        for at in [0, 4095, 4096, 9999] {
            bytes[at] ^= 1;
            assert!(pattern.compare(77, &bytes).unwrap_err().contains(&format!("byte {} ", at + 77)));
            bytes[at] ^= 1;
        }
    }
}
