//! Request ids: a client's own where it is fit for logs, else one of ours.

/// The longest id taken over from a client.
const ID_MAX: usize = 128;

/// The id of an exchange: in `X-Request-Id`, in the logs and in our own answers.
#[derive(Clone, Copy)]
pub struct RequestId {
    bytes: [u8; ID_MAX],
    len: u8,
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl RequestId {
    /// A client's, if it is 1 to 128 characters of `[A-Za-z0-9._~+/=-]`.
    pub fn accept(bytes: &[u8]) -> Option<Self> {
        let fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(byte);
        if bytes.is_empty() || bytes.len() > ID_MAX || !bytes.iter().all(fit) {
            return None;
        }
        let mut id = Self { bytes: [0; ID_MAX], len: bytes.len() as u8 };
        id.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(id)
    }

    /// The id.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Makes ids: 64 random bits of its own, then a count that is scrambled so that ids do not look like one.
#[derive(Debug)]
pub struct IdMaker {
    /// As digits: the first half of every id.
    seed: [u8; 16],
    count: u64,
}

impl Default for IdMaker {
    fn default() -> Self {
        Self { seed: digits(random()), count: random() }
    }
}

impl IdMaker {
    /// The next one: 32 hexadecimal digits.
    pub fn make(&mut self) -> RequestId {
        // splitmix64: a bijection, so that no count gives an id twice.
        self.count = self.count.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.count;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        let mut id = RequestId { bytes: [0; ID_MAX], len: 32 };
        id.bytes[..16].copy_from_slice(&self.seed);
        id.bytes[16..32].copy_from_slice(&digits(word));
        id
    }
}

/// In hexadecimal.
fn digits(word: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(word.to_be_bytes()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    digits
}

/// 64 bits of the kernel's.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u64::from_ne_bytes(bytes),
        // A kernel without it: the address space layout and the process are what is left. Ids need no secrecy.
        Err(_) => u64::from(std::process::id()) ^ (&raw const bytes) as u64,
    }
}

/// What this process calls itself in Via, so that a loop is told from a tier.
pub fn via_token() -> String {
    format!("layer7router-{:08x}", random() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_id_is_kept_and_others_are_not() {
        for (id, fit) in [("a", true), ("A-z_", true), ("09.~+/=-", true), ("", false), ("a b", false), ("a\r", false)]
        {
            assert_eq!(RequestId::accept(id.as_bytes()).is_some(), fit, "{id}");
        }
        assert!(RequestId::accept(&[b'a'; 128]).is_some());
        assert!(RequestId::accept(&[b'a'; 129]).is_none());
    }

    #[test]
    fn ids_differ() {
        let mut maker = IdMaker::default();
        let all: std::collections::HashSet<Vec<u8>> = (0..1000).map(|_| maker.make().as_bytes().to_vec()).collect();
        assert_eq!(all.len(), 1000);
    }
}
