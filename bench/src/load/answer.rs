//! Where an answer ends: a head with Content-Length and its body. No other comes to what is asked here.

use std::io::{Error, ErrorKind, Read};

/// More than any answer here.
const ANSWER_MAX: usize = 64 * 1024;

/// Bytes of the whole answer that begins here, once that can be told; an error when it is no good one.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() < ANSWER_MAX { Ok(None) } else { Err(()) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| ())?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    match length {
        Some(Ok(length)) => Ok(Some(end + 4 + length)),
        _ => Err(()),
    }
}

/// Reads one whole answer.
pub fn read(stream: &mut impl Read) -> std::io::Result<()> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match length(&answer) {
            Ok(Some(length)) if answer.len() == length => return Ok(()),
            Ok(Some(length)) if answer.len() > length => return Err(Error::from(ErrorKind::InvalidData)),
            Err(()) => return Err(Error::from(ErrorKind::InvalidData)),
            Ok(_) => {}
        }
        match stream.read(&mut buffer)? {
            0 => return Err(Error::from(ErrorKind::UnexpectedEof)),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\nabc";
        assert_eq!(length(answer), Ok(Some(answer.len())));
        for cut in 0..answer.len() - 3 {
            assert_eq!(length(&answer[..cut]), Ok(None), "{cut}");
        }
        assert!(read(&mut &answer[..]).is_ok());
        assert_eq!(read(&mut &answer[..answer.len() - 1]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_good_answer_is_an_error() {
        for answer in ["HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
            assert_eq!(length(answer.as_bytes()), Err(()), "{answer}");
        }
    }
}
