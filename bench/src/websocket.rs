//! As much WebSocket as an echo needs: the handshake with the key of RFC 6455's example, and short frames.

/// Bytes that a client sends in one frame.
const PAYLOAD: usize = 64;
/// A final binary frame.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;

/// What a server answers to the example's key.
pub const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What a client asks.
pub fn request(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A client's frame. Its mask is zero, which is a mask as any other and leaves the payload as it is.
pub fn frame(fill: u8) -> Vec<u8> {
    let mut frame = vec![BINARY, MASKED | PAYLOAD as u8, 0, 0, 0, 0];
    frame.resize(frame.len() + PAYLOAD, fill);
    frame
}

/// A server's frame with the same payload.
pub fn echo(fill: u8) -> Vec<u8> {
    let mut frame = vec![BINARY, PAYLOAD as u8];
    frame.resize(frame.len() + PAYLOAD, fill);
    frame
}

/// How many bytes of whole frames there were, and what a server answers to them.
pub fn echoed(mut input: &[u8]) -> (usize, Vec<u8>) {
    let (mut used, mut answer) = (0, Vec::new());
    while let [BINARY, length, mask @ ..] = input {
        let length = usize::from(length & !MASKED);
        let Some((mask, rest)) = mask.split_at_checked(4) else { break };
        let Some(payload) = rest.get(..length) else { break };
        answer.extend([BINARY, length as u8]);
        answer.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        used += 6 + length;
        input = &input[6 + length..];
    }
    (used, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_come_back_and_what_is_cut_waits() {
        let two = [frame(b'a'), frame(b'b')].concat();
        assert_eq!(echoed(&two), (two.len(), [echo(b'a'), echo(b'b')].concat()));
        for cut in 0..frame(b'a').len() {
            assert_eq!(echoed(&two[..cut]), (0, Vec::new()), "{cut}");
        }
    }

    #[test]
    fn a_mask_is_taken_off() {
        let masked = [BINARY, MASKED | 2, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        assert_eq!(echoed(&masked), (8, vec![BINARY, 2, b'h', b'i']));
    }
}
