//! The ClientHello, read before the library sees it (RFC 5246 section 7.4.1.2, RFC 6347 section
//! 4.2.1).

/// Bytes of a handshake message's header.
pub(super) const HANDSHAKE_HEADER: usize = 12;
/// The handshake type of a ClientHello.
pub(super) const CLIENT_HELLO: u8 = 1;

const RANDOM: std::ops::Range<usize> = 2..34;
const USE_SRTP: usize = 14;
const EXTENDED_MASTER_SECRET: usize = 23;

/// The fields of a ClientHello that we judge ourselves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) random: Vec<u8>,
    /// Bytes of the session id that a client of an earlier session has kept.
    pub(super) session_id: usize,
    /// SRTP profiles (RFC 5764 section 4.1.1).
    pub(super) profiles: Vec<u16>,
    /// RFC 7627.
    pub(super) extended_master_secret: bool,
}

impl ClientHello {
    /// Reads the body of the message. `None` where it breaks off.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut hello = Self {
            random: body.get(RANDOM)?.to_vec(),
            ..Self::default()
        };
        let mut reader = Reader(&body[RANDOM.end..]);
        hello.session_id = reader.u8()?;
        reader.take(hello.session_id)?;
        let cookie = reader.u8()?;
        reader.take(cookie)?;
        let suites = reader.u16()?;
        reader.take(suites)?;
        let compressions = reader.u8()?;
        reader.take(compressions)?;
        let Some(len) = reader.u16() else {
            return Some(hello); // without extensions
        };
        let mut extensions = Reader(reader.take(len)?);
        while let Some(kind) = extensions.u16() {
            let len = extensions.u16()?;
            let mut body = Reader(extensions.take(len)?);
            match kind {
                USE_SRTP => {
                    let len = body.u16()?;
                    let pairs = body.take(len)?.chunks_exact(2);
                    hello.profiles = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
                }
                EXTENDED_MASTER_SECRET => hello.extended_master_secret = true,
                _ => {}
            }
        }
        Some(hello)
    }
}

/// The random of the client in a message that begins with it, as far as the fragment has it.
pub(super) fn random(body: &[u8]) -> Option<&[u8]> {
    body.get(RANDOM)
}

/// The message without its session id: what a client sends that has no earlier session.
pub(super) fn without_session_id(message: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = message.split_at_checked(HANDSHAKE_HEADER)?;
    let (head, rest) = body.split_at_checked(RANDOM.end)?;
    let (len, rest) = rest.split_first()?;
    let rest = rest.get(usize::from(*len)..)?;
    let sequence = u16::from_be_bytes([header[4], header[5]]);
    Some(message_of(sequence, &[head, &[0], rest].concat()))
}

/// A ClientHello in one piece.
pub(super) fn message_of(sequence: u16, body: &[u8]) -> Vec<u8> {
    let len = &(body.len() as u32).to_be_bytes()[1..];
    let mut message = vec![CLIENT_HELLO];
    message.extend_from_slice(len);
    message.extend_from_slice(&sequence.to_be_bytes());
    message.extend_from_slice(&[0; 3]);
    message.extend_from_slice(len);
    message.extend_from_slice(body);
    message
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<usize> {
        self.take(1).map(|b| usize::from(b[0]))
    }

    fn u16(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(session_id: &[u8], extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend([7; 32]);
        body.push(session_id.len() as u8);
        body.extend(session_id);
        body.extend([1, 0xAA]); // cookie
        body.extend([0, 2, 0xC0, 0x2B]);
        body.extend([1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    #[test]
    fn session_id_and_extensions_are_found() {
        let extensions = [0, 23, 0, 0, 0, 14, 0, 7, 0, 4, 0, 7, 0, 1, 0];
        let hello = ClientHello::parse(&body(&[9; 32], &extensions)).expect("whole");
        assert_eq!(
            hello,
            ClientHello {
                random: vec![7; 32],
                session_id: 32,
                profiles: vec![7, 1],
                extended_master_secret: true
            }
        );
        let whole = body(&[9; 32], &extensions);
        for cut in 0..whole.len() {
            let _ = ClientHello::parse(&whole[..cut]);
        }
    }

    #[test]
    fn without_its_session_id_the_message_is_that_of_a_new_client() {
        let message = message_of(1, &body(&[9; 32], &[0, 23, 0, 0]));
        assert_eq!(
            without_session_id(&message),
            Some(message_of(1, &body(&[], &[0, 23, 0, 0])))
        );
        for cut in 0..HANDSHAKE_HEADER + 40 {
            let _ = without_session_id(&message[..cut]);
        }
    }
}
