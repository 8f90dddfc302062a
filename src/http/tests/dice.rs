//! Random faults, the same in each run, so that a failure repeats.

/// xorshift64
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// Ends of pieces that make up `len` bytes: mostly small ones, and now and then none at all.
    pub(super) fn cuts(&mut self, len: usize) -> Vec<usize> {
        let most = 1 + self.below(16);
        let (mut ends, mut at) = (Vec::new(), 0);
        while at < len {
            at = (at + self.below(most + 1)).min(len);
            ends.push(at);
        }
        ends
    }

    /// One to three faults: a byte replaced, put in, taken out; a piece of text put in or doubled.
    pub(super) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const PIECES: &[&str] = &[
            "\r\n",
            "\n",
            "\r",
            " ",
            "\t",
            ":",
            ",",
            ";",
            "\0",
            "/",
            "..",
            "%2e",
            "#",
            "?",
            "\\",
            "+",
            "0",
            "_",
            "-",
            "\u{e9}",
            "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: Host, X\r\n",
            "Host: b\r\n",
            "close",
            "Expect: 100-continue\r\n",
            "Upgrade: websocket\r\n",
            "http://a",
            " HTTP/1.0\r\n",
            "chunked",
            "\r\n\r\n",
        ];
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.below(256) as u8),
                3 => {
                    let end = (at + self.below(24)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(end..end, again);
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(at..at, piece.bytes());
                }
            }
        }
    }
}
