//! What a demo origin says: bytes of requests in, bytes of answers out.
//!
//! Not here: sockets. Memory: `INPUT_BYTES_MAX` of what arrives; of answers `OUTPUT_BYTES_ENOUGH` and one more, which is about
//! twice the head it shows at worst; between requests nearly nothing.

use crate::http::framing::BodyReader;
use crate::http::head::{HeadLimits, Method, RequestHead, Scan, parse_request, scan};
use crate::http::reply::{Reply, refusal_body, reply};
use crate::http::{FIELDS_MAX, Refusal, Version, no_fields};

/// Bytes of a head, and of what is read ahead of its turn.
pub(super) const INPUT_BYTES_MAX: usize = 64 * 1024;
/// With this much to send, no further request is looked at.
pub(super) const OUTPUT_BYTES_ENOUGH: usize = 16 * 1024;
/// An empty buffer larger than this is given back.
const KEPT_BYTES_MAX: usize = 4 * 1024;

const LIMITS: HeadLimits = HeadLimits { uri_size: INPUT_BYTES_MAX, header_count: FIELDS_MAX };

/// For an answer to a request without an id of its own.
const NO_ID: &[u8] = b"-";

enum State {
    /// Before the end of a head.
    Head,
    /// Reading the body of a request that is answered when it ends.
    Body { reader: BodyReader, answer: Vec<u8>, keep: bool },
    /// The last answer is written.
    Over,
}

/// One connection's requests and answers.
pub(super) struct Talk {
    state: State,
    input: Vec<u8>,
    /// `input[read..]` is unread: `read <= input.len()`
    read: usize,
    /// So much of the unread bytes holds no end of a head.
    scanned: usize,
    output: Vec<u8>,
    /// `output[sent..]` is unsent: `sent <= output.len()`
    sent: usize,
}

impl Talk {
    pub(super) fn new() -> Self {
        Self { state: State::Head, input: Vec::new(), read: 0, scanned: 0, output: Vec::new(), sent: 0 }
    }

    /// How much may be given to `receive`. Never 0 when `go_on` wants more: then a head would be too large.
    pub(super) fn room(&self) -> usize {
        INPUT_BYTES_MAX.saturating_sub(self.unread().len())
    }

    /// Takes what has arrived.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.extend_from_slice(bytes);
    }

    /// To be written.
    pub(super) fn unsent(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// So much of it was.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.output.len() {
            give_back(&mut self.output);
            self.sent = 0;
        }
    }

    /// There will be no further answer.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Answers what is there, until more is needed or enough is to be sent.
    pub(super) fn go_on(&mut self, name: &str, date: &[u8]) {
        while self.unsent().len() < OUTPUT_BYTES_ENOUGH && self.step(name, date) {}
        if self.unread().is_empty() {
            give_back(&mut self.input);
            self.read = 0;
        }
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.read..).unwrap_or_default()
    }

    /// One head, or some of a body. False: not without more bytes.
    fn step(&mut self, name: &str, date: &[u8]) -> bool {
        match &mut self.state {
            State::Head => match scan(self.unread(), self.scanned) {
                Scan::Whole { skip, len } => self.head(skip, len, name, date),
                Scan::Partial { .. } if self.room() == 0 => {
                    self.refuse(&Refusal::new(431, "the request head is too large"), date);
                }
                Scan::Partial { scanned, .. } => {
                    self.scanned = scanned;
                    return false;
                }
                Scan::Bad(refusal) => self.refuse(&refusal, date),
            },
            State::Body { reader, answer, keep } => {
                let unread = self.input.get_mut(self.read..).unwrap_or_default();
                match reader.take(unread) {
                    Ok(taken) => {
                        self.read += taken.consumed;
                        if !taken.end {
                            return false;
                        }
                        self.output.append(answer);
                        self.state = if *keep { State::Head } else { State::Over };
                    }
                    Err(fault) => self.refuse(&Refusal::new(400, fault.0), date),
                }
            }
            State::Over => return false,
        }
        true
    }

    fn head(&mut self, skip: usize, len: usize, name: &str, date: &[u8]) {
        let from = self.read + skip;
        let bytes = self.input.get(from..from + len).unwrap_or_default();
        let mut fields = no_fields();
        match parse_request(bytes, &mut fields, &LIMITS) {
            Ok(head) => {
                if head.expects_continue {
                    self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                self.state = State::Body {
                    reader: BodyReader::request(head.body),
                    answer: answer(&head, name, date),
                    keep: head.keep_alive,
                };
                self.read = from + len;
                self.scanned = 0;
            }
            Err(refusal) => self.refuse(&refusal, date),
        }
    }

    /// Says why, and that it is the last.
    fn refuse(&mut self, refusal: &Refusal, date: &[u8]) {
        let mut body = Vec::new();
        let Ok(()) = refusal_body(refusal, NO_ID, &mut body);
        let Ok(()) = reply(
            &Reply {
                status: refusal.status,
                body: &body,
                request_id: NO_ID,
                date,
                keep: false,
                client: Version::Http11,
                head_request: false,
                extra: &[],
            },
            &mut self.output,
        );
        self.read = self.input.len();
        self.state = State::Over;
    }
}

/// Who answers, by which route the request came, and each field of it.
fn answer(head: &RequestHead<'_, '_>, name: &str, date: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [&b"backend: "[..], name.as_bytes(), b"\nroute: ", head.field("x-route").unwrap_or(b"-"), b"\n"] {
        body.extend_from_slice(part);
    }
    for field in head.fields {
        for part in [field.name.as_bytes(), b": ", field.value, b"\n"] {
            body.extend_from_slice(part);
        }
    }
    let mut answer = Vec::with_capacity(body.len() + 256);
    let Ok(()) = reply(
        &Reply {
            status: 200,
            body: &body,
            request_id: head.field("x-request-id").unwrap_or(NO_ID),
            date,
            keep: head.keep_alive,
            client: head.version,
            head_request: head.method == Method::Head,
            extra: &[],
        },
        &mut answer,
    );
    answer
}

fn give_back(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES_MAX);
}
