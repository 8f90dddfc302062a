//! The chunked coding (RFC 9112 section 7.1), decoded in place, split anywhere.
//!
//! ```text
//! Size -> [Blank -> Extension..] -> LineLf -> Data -> DataCr -> DataLf -> Size
//!                                         `-> Trailers -> Done      (size 0)
//! ```
//!
//! Extensions are read by their grammar, so that nobody can read another line end into them, and dropped. Chunk lines
//! are never passed on: `framing::ChunkLine` writes new ones.

use super::framing::{BodyFault, Taken};
use super::names::{is_tchar, is_token, is_value_byte};

/// Bytes of one chunk line, CRLF included.
pub const LINE_MAX: usize = 4 * 1024;
/// Bytes of extensions in one message: a byte of payload in each chunk must not carry 4 KB of them.
pub const EXTENSIONS_MAX: usize = 16 * 1024;
/// Bytes of a trailer section, final empty line included.
pub const TRAILERS_MAX: usize = 8 * 1024;

/// Digits of the largest size; a line may have more of them only as zeros before it, and a CR behind it.
const SIZE_DIGITS: usize = 17;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size {
        value: u64,
        digits: bool,
    },
    /// Behind a size or an extension: blanks, which only `;` may follow.
    Blank {
        size: u64,
    },
    /// In an extension, at this point of it.
    Extension {
        size: u64,
        at: Extension,
    },
    /// The CR of a chunk line was there.
    LineLf {
        size: u64,
    },
    /// This much of the chunk is to come; never 0.
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// Behind the last chunk: this much of the trailer section holds no empty line.
    Trailers {
        scanned: usize,
    },
    Done,
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, behind the `;`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extension {
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    Escape,
    AfterQuoted,
    AfterValue,
}

/// The decoder of one message's body. It holds counts, never bytes.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Of the chunk line that is being read.
    line: usize,
    /// Of the whole message.
    extensions: usize,
}

const START: State = State::Size { value: 0, digits: false };

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the start of a body.
    pub const fn new() -> Self {
        Self { state: START, line: 0, extensions: 0 }
    }

    /// Whether the final empty line was taken.
    pub fn is_finished(&self) -> bool {
        self.state == State::Done
    }

    /// As `BodyReader::take`.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<Taken, BodyFault> {
        let (mut payload, mut at) = (0, 0);
        let mut trailers = 0..0;
        while let Some(rest) = bytes.get(at..) {
            match self.state {
                State::Done => break,
                State::Trailers { scanned } => match trailer_section(rest, scanned)? {
                    Section::Whole { lines } => {
                        trailers = at..at + lines;
                        at += lines + 2;
                        self.state = State::Done;
                    }
                    Section::Partial { scanned } => {
                        self.state = State::Trailers { scanned };
                        break;
                    }
                },
                State::Data { left } => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    if now == 0 {
                        break;
                    }
                    if payload != at {
                        bytes.copy_within(at..at + now, payload);
                    }
                    payload += now;
                    at += now;
                    let left = left - now as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                }
                State::DataCr if rest.starts_with(b"\r\n") => {
                    at += 2;
                    self.state = START;
                    self.line = 0;
                }
                state => {
                    let Some(byte) = rest.first() else { break };
                    if state == START
                        && let Some((size, len)) = plain_line(rest)
                    {
                        at += len;
                        self.state = State::Data { left: size };
                        continue;
                    }
                    let run = self.run(rest);
                    if run == 0 {
                        self.step(*byte)?;
                    }
                    at += run.max(1);
                }
            }
        }
        Ok(Taken { payload, consumed: at, end: self.is_finished(), trailers })
    }

    /// How many bytes lead nowhere, inside of a name or a value of an extension: they are counted here, and none is a byte
    /// too many. The next is for `step`.
    fn run(&mut self, bytes: &[u8]) -> usize {
        let State::Extension { at, .. } = self.state else { return 0 };
        let class = match at {
            Extension::Name | Extension::Token => TOKEN,
            Extension::Quoted => QUOTED,
            _ => return 0,
        };
        let room = LINE_MAX.saturating_sub(self.line).min(EXTENSIONS_MAX.saturating_sub(self.extensions));
        let run = bytes.iter().take(room).take_while(|b| CLASSES[usize::from(**b)] & class != 0).count();
        self.line += run;
        self.extensions += run;
        run
    }

    /// One byte of what is neither payload nor trailers.
    fn step(&mut self, byte: u8) -> Result<(), BodyFault> {
        match self.state {
            State::DataCr if byte == b'\r' => self.state = State::DataLf,
            State::DataLf if byte == b'\n' => {
                self.state = START;
                self.line = 0;
            }
            State::DataCr | State::DataLf => {
                return Err(BodyFault("a chunk does not end with CRLF"));
            }
            _ => self.step_line(byte)?,
        }
        Ok(())
    }

    fn step_line(&mut self, byte: u8) -> Result<(), BodyFault> {
        const BAD_LINE: BodyFault = BodyFault("a chunk line is malformed");
        self.line += 1;
        if self.line > LINE_MAX {
            return Err(BodyFault("a chunk line is too long"));
        }
        // Blanks and leading zeros cost as much as extensions do.
        let padding = self.line > SIZE_DIGITS && !matches!(self.state, State::LineLf { .. });
        if padding || matches!(self.state, State::Blank { .. } | State::Extension { .. }) {
            self.extensions += 1;
            if self.extensions > EXTENSIONS_MAX {
                return Err(BodyFault("too many chunk extensions"));
            }
        }
        self.state = match (self.state, byte) {
            (State::Size { value, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let value = value.checked_mul(16).and_then(|v| v.checked_add(digit)).filter(|v| *v <= i64::MAX as u64);
                match value {
                    Some(value) => State::Size { value, digits: true },
                    None => return Err(BodyFault("a chunk is too large")),
                }
            }
            (State::Size { digits: false, .. }, _) => {
                return Err(BodyFault("a chunk line has no size"));
            }
            (State::Size { value: size, .. }, b'\r') => State::LineLf { size },
            (State::Size { value: size, .. } | State::Blank { size }, b';') => {
                State::Extension { size, at: Extension::BeforeName }
            }
            (State::Size { value: size, .. } | State::Blank { size }, b' ' | b'\t') => State::Blank { size },
            (State::Extension { size, at: Extension::Name | Extension::Token | Extension::AfterQuoted }, b'\r') => {
                State::LineLf { size }
            }
            (State::Extension { size, at }, _) => match at.next(byte) {
                Some(at) => State::Extension { size, at },
                None => return Err(BodyFault("a chunk extension is malformed")),
            },
            (State::LineLf { size: 0 }, b'\n') => State::Trailers { scanned: 0 },
            (State::LineLf { size }, b'\n') => State::Data { left: size },
            _ => return Err(BAD_LINE),
        };
        Ok(())
    }
}

impl Extension {
    /// Where a byte leads that does not end the line; `None` is not in the grammar.
    fn next(self, byte: u8) -> Option<Self> {
        let blank = matches!(byte, b' ' | b'\t');
        Some(match self {
            Self::BeforeName if blank => self,
            Self::BeforeName | Self::Name if is_tchar(byte) => Self::Name,
            Self::Name | Self::AfterName if blank => Self::AfterName,
            Self::Name | Self::AfterName if byte == b'=' => Self::BeforeValue,
            Self::BeforeValue if blank => self,
            Self::BeforeValue if byte == b'"' => Self::Quoted,
            Self::BeforeValue | Self::Token if is_tchar(byte) => Self::Token,
            Self::Quoted if byte == b'"' => Self::AfterQuoted,
            Self::Quoted if byte == b'\\' => Self::Escape,
            Self::Quoted | Self::Escape if is_value_byte(byte) => Self::Quoted,
            // A blank here must be followed by another extension, as one behind a size must.
            Self::Token | Self::AfterQuoted if blank => Self::AfterValue,
            Self::Name | Self::AfterName | Self::Token | Self::AfterQuoted | Self::AfterValue if byte == b';' => {
                Self::BeforeName
            }
            Self::AfterValue if blank => self,
            _ => return None,
        })
    }
}

/// A size and CRLF, as nearly everyone writes the line: the size, and bytes of the line. `None` is for who looks closer:
/// anything else, the last chunk, and a line that is not all there.
fn plain_line(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut size = 0;
    for (at, byte) in bytes.iter().enumerate().take(SIZE_DIGITS) {
        match char::from(*byte).to_digit(16) {
            // Sixteen digits fit.
            Some(digit) if at + 1 < SIZE_DIGITS => size = size << 4 | u64::from(digit),
            _ => {
                let is_line = bytes.get(at..at + 2) == Some(b"\r\n") && (1..=i64::MAX as u64).contains(&size);
                return is_line.then_some((size, at + 2));
            }
        }
    }
    None
}

/// Goes on in the name of an extension, or in a value without quotes.
const TOKEN: u8 = 1;
/// Goes on in a value with quotes.
const QUOTED: u8 = 2;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        let quoted = is_value_byte(byte) && !matches!(byte, b'"' | b'\\');
        classes[b] = if is_tchar(byte) { TOKEN } else { 0 } | if quoted { QUOTED } else { 0 };
        b += 1;
    }
    classes
};

enum Section {
    /// Bytes of the field lines, without the empty line.
    Whole {
        lines: usize,
    },
    Partial {
        scanned: usize,
    },
}

/// A trailer section is taken whole or not at all: `bytes` begins at its first line, `scanned` of them were seen.
fn trailer_section(bytes: &[u8], scanned: usize) -> Result<Section, BodyFault> {
    let mut at = scanned;
    loop {
        let window = bytes.get(at..).unwrap_or_default();
        let Some(end) = window.iter().position(|b| *b == b'\n') else {
            break;
        };
        let line = window.get(..=end).unwrap_or_default();
        if at + line.len() > TRAILERS_MAX {
            break;
        }
        match line {
            b"\r\n" => return Ok(Section::Whole { lines: at }),
            [field @ .., b'\r', b'\n'] if is_field_line(field) => at += line.len(),
            _ => return Err(BodyFault("a trailer field is malformed")),
        }
    }
    if bytes.len() >= TRAILERS_MAX {
        return Err(BodyFault("the trailer section is too long"));
    }
    Ok(Section::Partial { scanned: at })
}

/// `field-name ":" OWS field-value OWS` (RFC 9112 section 5).
fn is_field_line(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|b| *b == b':') else {
        return false;
    };
    let (name, value) = line.split_at_checked(colon).unwrap_or((b"", b""));
    is_token(name) && value.iter().copied().all(is_value_byte)
}
