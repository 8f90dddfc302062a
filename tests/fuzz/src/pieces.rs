//! How an input is cut: its first bytes choose the flags and the places, the rest is the message.
//!
//! Not here: what is done with the pieces.

use layer7router::http::Field;
use layer7router::http::head::Scan;

/// A message and how it arrives.
#[derive(Debug)]
pub struct Pieces<'a> {
    /// Switches for the target; bit 0 to 7 of the first byte.
    flags: u8,
    /// Where the message is cut, in order; the last is its end.
    pub ends: Vec<usize>,
    /// The message.
    pub message: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// `None` is an input too short to choose anything.
    pub fn of(input: &'a [u8]) -> Option<Self> {
        let ([flags, places @ ..], message) = input.split_first_chunk::<4>()?;
        let mut ends: Vec<usize> = places.iter().map(|place| usize::from(*place) % (message.len() + 1)).collect();
        ends.push(message.len());
        ends.sort_unstable();
        Some(Self { flags: *flags, ends, message })
    }

    /// One of the switches.
    pub fn flag(&self, bit: u32) -> bool {
        self.flags >> bit & 1 == 1
    }

    /// Byte by byte.
    pub fn each_byte(&self) -> Vec<usize> {
        (1..=self.message.len()).collect()
    }

    /// The verdict on a head, which must be the same for the whole, in pieces and byte by byte.
    pub fn scanned<E: Copy + PartialEq + std::fmt::Debug>(&self, look: impl Fn(&[u8], usize) -> Scan<E>) -> Scan<E> {
        let whole = look(self.message, 0);
        assert_eq!(self.grown(&self.ends, &look), whole, "cut at {:?}", self.ends);
        if !self.message.is_empty() {
            assert_eq!(self.grown(&self.each_byte(), &look), whole, "byte by byte");
        }
        whole
    }

    /// What is said when the message grows to each of these lengths in turn.
    fn grown<E>(&self, ends: &[usize], look: impl Fn(&[u8], usize) -> Scan<E>) -> Scan<E> {
        let mut seen = 0;
        for end in ends {
            match look(&self.message[..*end], seen) {
                Scan::Partial { scanned, .. } if *end < self.message.len() => seen = scanned,
                verdict => return verdict,
            }
        }
        look(self.message, seen)
    }
}

/// A field of a rebuilt head as it is compared: name in lower case, value.
pub type Line = (String, Vec<u8>);

/// The fields of a head, to be compared.
pub fn lines(fields: &[Field<'_>]) -> Vec<Line> {
    fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect()
}

/// What Connection names beyond the three options that are no fields.
pub fn named_by_connection(lines: &[Line]) -> Vec<String> {
    let connection = lines.iter().filter(|(name, _)| name == "connection");
    let options = connection.flat_map(|(_, value)| {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        text.split(',').map(|option| option.trim_matches([' ', '\t']).to_owned()).collect::<Vec<_>>()
    });
    options.filter(|option| !["", "close", "keep-alive", "upgrade"].contains(&option.as_str())).collect()
}
